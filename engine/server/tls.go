package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/haproxy-api/haproxy-api/internal/fingerprint"
)

// certificates are the files of a TLS listener. Each handshake checks whether they have changed, so that a renewed certificate is
// used from the next connection on.
type certificates struct {
	cert, key, clientCA string // files; clientCA may be ""
	log                 *slog.Logger

	mu     sync.Mutex
	seen   []fingerprint.File // of cert, key and clientCA when they were last read; zero for a missing file
	config *tls.Config        // from when they were last valid
}

func openCertificates(cfg AccessConfig) (*certificates, error) {
	c := &certificates{
		cert: cfg.TLSCert, key: cfg.TLSKey, clientCA: cfg.ClientCA, log: cfg.Log, seen: make([]fingerprint.File, 3),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.seen = c.fingerprints()
	var err error
	c.config, err = c.read()
	return c, err
}

// serverConfig returns the configuration for [tls.Server]. It reads no file before the handshake.
func (c *certificates) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}
}

// current returns the configuration from the files, or from when they were last valid.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.fingerprints()
	same := slices.EqualFunc(c.seen, now, fingerprint.File.Same)
	c.seen = now // also if they are invalid, so that this is logged once
	if same {
		return c.config
	}
	config, err := c.read()
	if err != nil {
		c.log.Error("the certificates have changed and are invalid; keeping the previous ones", "error", err)
		return c.config
	}
	c.config = config
	c.log.Info("using the changed certificates", "file", c.cert)
	return config
}

// trusts reports whether the client may change something: it presented a certificate of an authority in client_ca, or there is no
// client_ca. That is verified for each request, because the authorities may have changed since the handshake.
func (c *certificates) trusts(state *tls.ConnectionState) bool {
	return !c.hasAuthorities() || c.identifies(state)
}

// hasAuthorities reports whether there is a client_ca.
func (c *certificates) hasAuthorities() bool { return c.current().ClientCAs != nil }

// identifies reports whether the client presented a certificate of an authority in client_ca.
func (c *certificates) identifies(state *tls.ConnectionState) bool {
	authorities := c.current().ClientCAs
	if authorities == nil || state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

func (c *certificates) fingerprints() []fingerprint.File {
	now := make([]fingerprint.File, len(c.seen))
	for i, file := range []string{c.cert, c.key, c.clientCA} {
		now[i], _ = fingerprint.Of(file, c.seen[i])
	}
	return now
}

func (c *certificates) read() (*tls.Config, error) {
	pair, err := readPair(c.cert, c.key)
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"http/1.1"},
		// A resumed session would skip the verification by the current authorities.
		SessionTicketsDisabled: true,
	}
	if c.clientCA == "" {
		return config, err
	}
	authorities, caErr := readAuthorities(c.clientCA)
	// Not RequireAndVerifyClientCert, because probes and Prometheus read without a certificate. The access policy requires one
	// for changes.
	config.ClientCAs, config.ClientAuth = authorities, tls.VerifyClientCertIfGiven
	return config, errors.Join(err, caErr)
}

func readPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, certErr := os.ReadFile(certFile)
	if certErr == nil && !hasCertificate(cert) {
		certErr = errNoCertificate
	}
	key, keyErr := os.ReadFile(keyFile)
	var pair tls.Certificate
	if certErr == nil && keyErr == nil {
		if pair, keyErr = tls.X509KeyPair(cert, key); keyErr != nil {
			keyErr = fmt.Errorf("not the key of the certificate in %s: %s", certFile, strings.TrimPrefix(keyErr.Error(), "tls: "))
		}
	}
	return pair, errors.Join(atFile("haproxy_api.tls_cert", certFile, certErr), atFile("haproxy_api.tls_key", keyFile, keyErr))
}

func readAuthorities(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(content) {
		err = errNoCertificate
	}
	return pool, atFile("haproxy_api.client_ca", file, err)
}

var errNoCertificate = errors.New("contains no certificate in PEM format")

// hasCertificate reports whether the first certificate in content is valid.
func hasCertificate(content []byte) bool {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err == nil
		}
	}
	return false
}

// atFile returns err with the file and the configuration key that names it.
func atFile(key, file string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = fmt.Errorf("cannot be read: %w", path.Err)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", key, file, err)
}

// A tlsListener accepts connections with or without TLS, depending on the access policy when the connection is accepted.
type tlsListener struct {
	net.Listener
	access func() *AccessPolicy
}

// Accept returns a *[tls.Conn] if TLS is on. net/http recognizes it and does the handshake in the goroutine of the connection.
func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if certs := l.access().tls; certs != nil {
		return tls.Server(conn, certs.serverConfig()), nil
	}
	return conn, nil
}
