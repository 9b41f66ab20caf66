package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An authority issues certificates for the address that tests listen on.
type authority struct {
	t         *testing.T
	directory string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

var serial int64

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, directory: t.TempDir()}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial++
	template.SerialNumber, template.Subject = big.NewInt(serial), pkix.Name{CommonName: fmt.Sprint("test ", serial)}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// server writes a new server certificate and its key, and returns their files.
func (a *authority) server() (certFile, keyFile string, cert *x509.Certificate) {
	a.t.Helper()
	cert, key := a.issue(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return a.write("cert.pem", certPEM(cert)), a.write("key.pem", keyPEM(a.t, key)), cert
}

func (a *authority) client() tls.Certificate {
	a.t.Helper()
	cert, key := a.issue(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// write replaces the file atomically, as tools that renew certificates do.
func (a *authority) write(name string, content []byte) string {
	a.t.Helper()
	path := filepath.Join(a.directory, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// runningServer is a server that listens.
type runningServer struct {
	*testServer
	address string
}

func serve(t *testing.T, s *testServer) *runningServer {
	t.Helper()
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &runningServer{s, listener.Addr().String()}
}

// client returns an HTTP client that shares no connections with others.
func client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// fetch returns the code, the body and the connection state of an answer. Without an answer, the code is 0 and the body is the
// error.
func fetch(c *http.Client, method, url string) (int, string, *tls.ConnectionState) {
	r, err := http.NewRequest(method, url, strings.NewReader("{}"))
	if err != nil {
		return 0, err.Error(), nil
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), resp.TLS
}

func expect(t *testing.T, what string, c *http.Client, method, url string, code int, part string) *tls.ConnectionState {
	t.Helper()
	got, body, state := fetch(c, method, url)
	if got != code || !strings.Contains(body, part) {
		t.Errorf("%s: got %d %s, want %d %s", what, got, body, code, part)
	}
	return state
}

// Either the token or a client certificate is sufficient to read.
func TestAccessPolicy_ProtectReadsByClientCertificate(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	ca := a.write("ca.pem", certPEM(a.cert))
	cfg := AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: ca, Token: token, ProtectReads: true}
	s := serve(t, newServerWithPolicy(t, cfg))
	anybody := client(t, &tls.Config{RootCAs: a.pool()})
	known := client(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.client()}})
	expect(t, "no credentials", anybody, "GET", "https://"+s.address+"/metrics", 401, "errors")
	expect(t, "a probe without credentials", anybody, "GET", "https://"+s.address+"/live", 200, "alive")
	expect(t, "a certificate", known, "GET", "https://"+s.address+"/metrics", 200, "haproxy_api_build_info")
	expect(t, "a certificate alone changes", known, "POST", "https://"+s.address+"/update", 401, "errors")
}

// Where client certificates are configured, a client on this machine needs one too.
func TestRawDocument_ClientCertificate(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	server := newServerWithPolicy(t, AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: a.write("ca.pem", certPEM(a.cert))})
	server.emit()
	s := serve(t, server)
	log, err := server.cfg.Engine.History("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); log.LastChange() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is applied")
		}
	}
	document := "https://" + s.address + "/api/v1/pipelines/haproxy/generations/1/document"
	anybody := client(t, &tls.Config{RootCAs: a.pool()})
	known := client(t, &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.client()}})
	expect(t, "masked", anybody, "GET", document, 200, "text")
	expect(t, "raw without a certificate", anybody, "GET", document+"?raw=true", 401, "errors")
	expect(t, "raw with a certificate", known, "GET", document+"?raw=true", 200, "text")
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	s := serve(t, newServerWithPolicy(t, AccessConfig{TLSCert: cert, TLSKey: key}))
	https := "https://" + s.address
	state := expect(t, "https", client(t, &tls.Config{RootCAs: a.pool(), NextProtos: []string{"h2", "http/1.1"}}),
		"POST", https+"/update", 200, "pushed")
	if state == nil || state.Version < tls.VersionTLS12 || state.NegotiatedProtocol == "h2" {
		t.Errorf("got %+v", state)
	}
	expect(t, "TLS 1.1", client(t, &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
		"GET", https+"/live", 0, "protocol version")
	expect(t, "plain", client(t, nil), "GET", "http://"+s.address+"/live", 400, "Client sent an HTTP request to an HTTPS server.")
}

func TestTLS_CertificatesAreReloaded(t *testing.T) {
	a := newAuthority(t)
	cert, key, first := a.server()
	log := &lockedLog{}
	s := serve(t, newServerWithPolicy(t, AccessConfig{TLSCert: cert, TLSKey: key, Log: slog.New(slog.NewTextHandler(log, nil))}))
	shown := func() *big.Int {
		t.Helper()
		state := expect(t, "https", client(t, &tls.Config{RootCAs: a.pool()}), "GET", "https://"+s.address+"/live", 200, "alive")
		if state == nil {
			t.FailNow()
		}
		return state.PeerCertificates[0].SerialNumber
	}
	if got := shown(); got.Cmp(first.SerialNumber) != 0 {
		t.Errorf("shows %v, want the first", got)
	}
	_, _, second := a.server()
	if got := shown(); got.Cmp(second.SerialNumber) != 0 {
		t.Errorf("shows %v, want the second %v", got, second.SerialNumber)
	}
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ content, logged string }{
		{"nonsense", "haproxy_api.tls_key: " + key},
		{"", "haproxy_api.tls_key: " + key},
		{string(keyPEM(t, a.key)), "private key does not match"},
	} {
		log.reset()
		a.write("key.pem", []byte(broken.content))
		for range 3 {
			if got := shown(); got.Cmp(second.SerialNumber) != 0 {
				t.Errorf("shows %v with a broken key, want the second", got)
			}
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), broken.logged) {
			t.Errorf("want one line of %q, logged\n%s", broken.logged, log.String())
		}
	}
	log.reset()
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	shown()
	shown()
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no such file") {
		t.Errorf("logged\n%s", log.String())
	}
	a.write("key.pem", good)
	shown()
	_, _, third := a.server()
	if got := shown(); got.Cmp(third.SerialNumber) != 0 {
		t.Errorf("shows %v, want the third", got)
	}
}

func TestTLS_ClientCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	cert, key, _ := a.server()
	ca := a.write("ca.pem", certPEM(a.cert))
	s := serve(t, newServerWithPolicy(t, AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: ca}))
	https := "https://" + s.address
	none := client(t, &tls.Config{RootCAs: a.pool()})
	expect(t, "a probe", none, "GET", https+"/live", 200, "alive")
	expect(t, "a push without", none, "POST", https+"/update", 403, "haproxy_api.client_ca")
	theirs := client(t, &tls.Config{RootCAs: a.pool(), GetClientCertificate: always(other.client())})
	if code, _, _ := fetch(theirs, "POST", https+"/update"); code != 0 {
		t.Errorf("a push with another authority's: %d", code)
	}
	if code, _, _ := fetch(theirs, "GET", https+"/live"); code != 0 {
		t.Errorf("a wrong certificate is worse than none, but got %d", code)
	}
	ours := client(t, &tls.Config{RootCAs: a.pool(), GetClientCertificate: always(a.client())})
	expect(t, "a push", ours, "POST", https+"/update", 200, "pushed")

	// The authority changes while the connection is open.
	a.write("ca.pem", certPEM(other.cert))
	expect(t, "a push with the previous authority", ours, "POST", https+"/update", 403, "haproxy_api.client_ca")
	expect(t, "a push with the new authority", theirs, "POST", https+"/update", 200, "pushed")

	// A server's certificate does not authorize pushes.
	server, serverKey := other.issue(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	misused := tls.Certificate{Certificate: [][]byte{server.Raw}, PrivateKey: serverKey}
	if code, _, _ := fetch(client(t, &tls.Config{RootCAs: a.pool(), GetClientCertificate: always(misused)}),
		"POST", https+"/update"); code == 200 {
		t.Error("a server's certificate was taken for a client's")
	}
}

// always presents that certificate even if the server requests other authorities.
func always(cert tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

func TestTLS_EnableAndDisable(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	s := serve(t, newServerWithPolicy(t, AccessConfig{}))
	plain, secure := client(t, nil), client(t, &tls.Config{RootCAs: a.pool()})
	http, https := "http://"+s.address, "https://"+s.address
	expect(t, "plain", plain, "POST", http+"/update", 200, "pushed")
	s.SetAccessPolicy(newPolicy(t, AccessConfig{TLSCert: cert, TLSKey: key}))
	expect(t, "an old plain connection reads", plain, "GET", http+"/live", 403, "open another one with https")
	expect(t, "a new plain connection", plain, "POST", http+"/update", 400, "HTTPS server")
	expect(t, "secure", secure, "POST", https+"/update", 200, "pushed")
	s.SetAccessPolicy(newPolicy(t, AccessConfig{}))
	expect(t, "an old secure connection", secure, "POST", https+"/update", 200, "pushed")
	expect(t, "plain again", plain, "POST", http+"/update", 200, "pushed")
	if code, _, _ := fetch(client(t, &tls.Config{RootCAs: a.pool()}), "GET", https+"/live"); code != 0 {
		t.Errorf("a new secure connection: %d", code)
	}
}

func TestTLS_InvalidCertificates(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.server()
	ca := a.write("ca.pem", certPEM(a.cert))
	noise := a.write("noise.pem", []byte("noise"))
	bad := a.write("bad.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("noise")}))
	other := a.write("other.pem", keyPEM(t, a.key))
	missing := filepath.Join(a.directory, "missing.pem")
	const cannot, none = "cannot be read: no such file or directory", "contains no certificate in PEM format"
	for _, test := range []struct {
		name string
		cfg  AccessConfig
		want string
	}{
		{"right", AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: ca}, ""},
		{"no certificate", AccessConfig{TLSCert: missing, TLSKey: key}, "haproxy_api.tls_cert: " + missing + ": " + cannot},
		{"no key", AccessConfig{TLSCert: cert, TLSKey: missing}, "haproxy_api.tls_key: " + missing + ": " + cannot},
		{"neither", AccessConfig{TLSCert: missing, TLSKey: missing, ClientCA: missing},
			"haproxy_api.tls_cert: " + missing + ": " +
				cannot + "\nhaproxy_api.tls_key: " + missing + ": " + cannot +
				"\nhaproxy_api.client_ca: " + missing + ": " + cannot},
		{"noise", AccessConfig{TLSCert: noise, TLSKey: key}, "haproxy_api.tls_cert: " + noise + ": " + none},
		{"bad", AccessConfig{TLSCert: bad, TLSKey: key}, "haproxy_api.tls_cert: " + bad + ": " + none},
		{"the key twice", AccessConfig{TLSCert: key, TLSKey: key}, "haproxy_api.tls_cert: " + key + ": " + none},
		{"another key", AccessConfig{TLSCert: cert, TLSKey: other}, "haproxy_api.tls_key: " + other +
			": not the key of the certificate in " + cert + ": private key does not match public key"},
		{"a directory", AccessConfig{TLSCert: a.directory, TLSKey: key}, "haproxy_api.tls_cert: " + a.directory +
			": cannot be read: is a directory"},
		{"authority", AccessConfig{TLSCert: cert, TLSKey: key, ClientCA: noise}, "haproxy_api.client_ca: " + noise + ": " + none},
	} {
		got := ""
		if _, err := NewAccessPolicy(test.cfg); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// lockedLog is a buffer for concurrent use.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// conn opens a connection and sends request.
func (s *runningServer) conn(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

func status(t *testing.T, conn net.Conn) string {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Status
}
