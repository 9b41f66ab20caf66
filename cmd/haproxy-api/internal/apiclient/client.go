package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// api is the running daemon as other commands see it: over HTTP, at the address in its configuration.
type api struct {
	scheme, address string
	client          *http.Client
}

// apiOf returns the daemon that runs with cfg, as a program on this machine reaches it: through no proxy, and with the token
// where something is to be changed.
func apiOf(cfg *config.Config) api {
	host := cmp.Or(cfg.API.BindIP, "127.0.0.1")
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	a := api{scheme: "http", address: net.JoinHostPort(host, strconv.Itoa(cfg.API.BindPort))}
	if cfg.API.TLSCert != "" {
		a.scheme = "https"
	}
	a.client = clientFor(trusting(cfg.API.TLSCert, host), cfg.API.UpdateToken, cfg.API.ProtectReads)
	return a
}

// apiAt returns the daemon at a URL such as https://edge:7778 or an address such as edge:7778. A password in the URL is
// the token; without one it is that of cfg.
func apiAt(address string, cfg *config.Config) (api, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return api{}, &usageError{errors.New("the daemon's address is to be a URL such as http://localhost:7778, or HOST:PORT")}
	}
	a := api{scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "7778"))}
	token, given := u.User.Password()
	if !given {
		token = cfg.API.UpdateToken
	}
	a.client = clientFor(trusting(cfg.API.TLSCert, u.Hostname()), token, given || cfg.API.ProtectReads)
	return a, nil
}

func clientFor(security *tls.Config, token string, reads bool) *http.Client {
	return &http.Client{
		Transport: presenting{&http.Transport{TLSClientConfig: security}, token, reads},
		// The daemon sends nobody elsewhere, and the token must not get there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// unverified is the same daemon, whatever certificate it shows, without a token that somebody else could take.
func (a api) unverified() api {
	a.client = clientFor(&tls.Config{InsecureSkipVerify: true}, "", false) //nolint:gosec // who asks is told, and sends no secret
	return a
}

// presenting adds the token to requests that change something, and to those that read where reads are protected.
type presenting struct {
	http.RoundTripper
	token string
	reads bool
}

func (p presenting) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.token != "" && (p.reads || r.Method != http.MethodGet && r.Method != http.MethodHead) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	return p.RoundTripper.RoundTrip(r)
}

var errUntrusted = errors.New("it shows a certificate that is not the one in haproxy_api.tls_cert, and is not trusted otherwise")

// trusting takes the certificate in the file for the daemon's, whatever names and issuer it has; any other has to be right for
// the host.
func trusting(file, host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // it is VerifyConnection that verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			shown := state.PeerCertificates
			if own := firstCertificate(file); own != nil && own.Equal(shown[0]) {
				return nil
			}
			between := x509.NewCertPool()
			for _, cert := range shown[1:] {
				between.AddCert(cert)
			}
			if _, err := shown[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between}); err != nil {
				return fmt.Errorf("%w: %w", errUntrusted, err)
			}
			return nil
		},
	}
}

// firstCertificate returns the first certificate in the file, or nil where there is none that can be read.
func firstCertificate(file string) *x509.Certificate {
	content, _ := os.ReadFile(file)
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, _ := x509.ParseCertificate(block.Bytes)
			return cert
		}
	}
	return nil
}

// pipelines returns how the daemon's pipelines are.
func (a api) pipelines(ctx context.Context) ([]server.Pipeline, error) {
	body, err := a.get(ctx, "/api/v1/pipelines")
	if err != nil {
		return nil, err
	}
	var pipelines []server.Pipeline
	if err := json.Unmarshal(body, &pipelines); err != nil {
		return nil, a.stranger(err)
	}
	return pipelines, nil
}

// state returns the newest state that the daemon has, as one of the named source.
func (a api) state(ctx context.Context, source string) (sdk.Snapshot, error) {
	body, err := a.get(ctx, "/state")
	if err != nil {
		return sdk.Snapshot{}, err
	}
	snap, err := sidecar.DecodeState(body, source)
	if err != nil {
		return sdk.Snapshot{}, a.stranger(err)
	}
	return snap, nil
}

func (a api) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.scheme+"://"+a.address+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(req)
	if errors.Is(err, errUntrusted) {
		return nil, fmt.Errorf("the daemon at %s is not trusted: %w", a.address, errUntrusted)
	}
	if err != nil {
		return nil, fmt.Errorf("no daemon answers at %s: start it, or name its configuration with -f or its address with "+
			"--address: %w", a.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, sidecar.MaxState))
	if err != nil {
		return nil, fmt.Errorf("the daemon at %s breaks off in the middle of its answer: try again: %w", a.address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, a.refusal(resp.Status, body)
	}
	return body, nil
}

// refusal puts an answer that is an error into the daemon's own words.
func (a api) refusal(status string, body []byte) error {
	var answer struct{ Errors []string }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return a.stranger(fmt.Errorf("it answers %s", status))
	}
	return fmt.Errorf("the daemon at %s says: %s", a.address, strings.Join(answer.Errors, "; "))
}

func (a api) stranger(err error) error {
	return fmt.Errorf("what answers at %s is no haproxy-api: free its address, or name another with -f or --address: %w",
		a.address, err)
}
