// Package apiclient is the HTTP client with which subcommands query the running daemon. It knows the daemon's endpoints and how
// the daemon authenticates, and nothing about how the daemon works.
package apiclient

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
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// requestTimeout bounds each request, its response included.
const requestTimeout = 10 * time.Second

// A Client queries one daemon.
type Client struct {
	scheme, address string
	http            *http.Client
}

// New returns a client of the daemon that runs with cfg on this machine. It uses no proxy, and sends the update token only with
// requests that need it.
func New(cfg *config.Config) Client {
	host := cmp.Or(cfg.API.BindIP, "127.0.0.1")
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	c := Client{scheme: "http", address: net.JoinHostPort(host, strconv.Itoa(cfg.API.BindPort))}
	if cfg.API.TLSCert != "" {
		c.scheme = "https"
	}
	c.http = newHTTPClient(tlsConfig(cfg.API.TLSCert, host), cfg.API.UpdateToken, cfg.API.ProtectReads)
	return c
}

// NewAt returns a client of the daemon at a URL such as https://edge:7778 or an address such as edge:7778. A password in the URL
// is the token; without one the token of cfg is used. The error means that address has another form.
func NewAt(address string, cfg *config.Config) (Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return Client{}, errors.New("the address of the daemon must be a URL such as http://localhost:7778, or HOST:PORT")
	}
	c := Client{scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "7778"))}
	token, given := u.User.Password()
	if !given {
		token = cfg.API.UpdateToken
	}
	c.http = newHTTPClient(tlsConfig(cfg.API.TLSCert, u.Hostname()), token, given || cfg.API.ProtectReads)
	return c, nil
}

func newHTTPClient(security *tls.Config, token string, reads bool) *http.Client {
	return &http.Client{
		Transport: authenticator{&http.Transport{TLSClientConfig: security}, token, reads},
		// The daemon never redirects, and the token must not be sent to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Address returns the host and port of the daemon.
func (c Client) Address() string { return c.address }

// Unverified returns a client of the same daemon that accepts any certificate. It sends no token, which another server could
// intercept.
func (c Client) Unverified() Client {
	c.http = newHTTPClient(&tls.Config{InsecureSkipVerify: true}, "", false) //nolint:gosec // no secret is sent
	return c
}

// An authenticator adds the token to requests that change something, and to all requests if reads is set.
type authenticator struct {
	http.RoundTripper
	token string
	reads bool
}

func (a authenticator) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.token != "" && (a.reads || r.Method != http.MethodGet && r.Method != http.MethodHead) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.RoundTripper.RoundTrip(r)
}

// ErrUntrusted means that the daemon presented a certificate that cannot be verified.
var ErrUntrusted = errors.New("its certificate is neither the one in haproxy_api.tls_cert nor issued by a trusted authority")

// tlsConfig trusts the certificate in the file, whatever its names and issuer are. Any other certificate must be valid for host.
func tlsConfig(file, host string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies the certificate
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if own := firstCertificate(file); own != nil && own.Equal(chain[0]) {
				return nil
			}
			intermediates := x509.NewCertPool()
			for _, cert := range chain[1:] {
				intermediates.AddCert(cert)
			}
			if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: intermediates}); err != nil {
				return fmt.Errorf("%w: %w", ErrUntrusted, err)
			}
			return nil
		},
	}
}

// firstCertificate returns the first certificate in the file, or nil if it has none or cannot be read.
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

// Pipelines returns the status of the daemon's pipelines.
func (c Client) Pipelines(ctx context.Context) ([]server.Pipeline, error) {
	body, err := c.get(ctx, "/api/v1/pipelines")
	if err != nil {
		return nil, err
	}
	var pipelines []server.Pipeline
	if err := json.Unmarshal(body, &pipelines); err != nil {
		return nil, c.unexpectedResponse(err)
	}
	return pipelines, nil
}

// State returns the newest snapshot of the source that receives pushes. The snapshot's Source is set to source.
func (c Client) State(ctx context.Context, source string) (sdk.Snapshot, error) {
	body, err := c.get(ctx, "/state")
	if err != nil {
		return sdk.Snapshot{}, err
	}
	snap, err := sidecar.DecodeState(body, source)
	if err != nil {
		return sdk.Snapshot{}, c.unexpectedResponse(err)
	}
	return snap, nil
}

func (c Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.scheme+"://"+c.address+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, ErrUntrusted) {
		return nil, fmt.Errorf("the daemon at %s is not trusted: %w", c.address, ErrUntrusted)
	}
	if err != nil {
		return nil, fmt.Errorf("no daemon answers at %s: start it, or name its configuration with -f or its address with "+
			"--address: %w", c.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, sidecar.MaxState))
	if err != nil {
		return nil, fmt.Errorf("reading the response of the daemon at %s: %w", c.address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.errorResponse(resp.Status, body)
	}
	return body, nil
}

// errorResponse returns the errors in the daemon's response.
func (c Client) errorResponse(status string, body []byte) error {
	var answer struct{ Errors []string }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return c.unexpectedResponse(fmt.Errorf("the status is %s", status))
	}
	return fmt.Errorf("the daemon at %s answers: %s", c.address, strings.Join(answer.Errors, "; "))
}

func (c Client) unexpectedResponse(err error) error {
	return fmt.Errorf("the server at %s is not haproxy-api: name another address with -f or --address: %w", c.address, err)
}
