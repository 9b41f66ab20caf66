// Package apiclient is the HTTP client with which subcommands query the running daemon. It knows the daemon's endpoints and how
// the daemon authenticates, and nothing about how the daemon works.
package apiclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/history"
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
	identity        *tls.Certificate
}

// New returns a client of the daemon that runs with cfg on this machine. It uses no proxy, and sends the update token only with
// requests that need it. identity is the client certificate to present; nil for none.
func New(cfg *config.Config, identity *tls.Certificate) Client {
	host := cmp.Or(cfg.API.BindIP, "127.0.0.1")
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	c := Client{scheme: "http", address: net.JoinHostPort(host, strconv.Itoa(cfg.API.BindPort)), identity: identity}
	if cfg.API.TLSCert != "" {
		c.scheme = "https"
	}
	c.http = newHTTPClient(verifying(cfg.API.TLSCert, host), identity, cfg.API.UpdateToken, cfg.API.ProtectReads)
	return c
}

// NewAt returns a client of the daemon at a URL such as https://edge:7778 or an address such as edge:7778. A password in the URL
// is the token; without one the token of cfg is used. identity is as for [New]. The error means that address has another form.
func NewAt(address string, cfg *config.Config, identity *tls.Certificate) (Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return Client{}, errors.New("the address of the daemon must be a URL such as http://localhost:7778, or HOST:PORT")
	}
	c := Client{scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "7778")), identity: identity}
	token, given := u.User.Password()
	if !given {
		token = cfg.API.UpdateToken
	}
	c.http = newHTTPClient(verifying(cfg.API.TLSCert, u.Hostname()), identity, token, given || cfg.API.ProtectReads)
	return c, nil
}

// newHTTPClient returns a client that verifies certificates as security says. It sends the token with changes, and with all
// requests if reads is set.
func newHTTPClient(security *tls.Config, identity *tls.Certificate, token string, reads bool) *http.Client {
	if identity != nil {
		security.Certificates = []tls.Certificate{*identity}
	}
	return &http.Client{
		Transport: authenticator{&http.Transport{TLSClientConfig: security}, token, reads},
		// The daemon never redirects, and the token must not be sent to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Address returns the host and port of the daemon.
func (c Client) Address() string { return c.address }

// URL returns the URL of the daemon, without a path and secrets.
func (c Client) URL() string { return c.scheme + "://" + c.address }

// Unverified returns a client of the same daemon that accepts any certificate. It sends no token, which another server could
// intercept. It presents the client certificate, whose key is not sent.
func (c Client) Unverified() Client {
	c.http = newHTTPClient(&tls.Config{InsecureSkipVerify: true}, c.identity, "", false) //nolint:gosec // no secret is sent
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

// Live returns an error unless the daemon answers, whatever its state.
func (c Client) Live(ctx context.Context) error {
	var answer struct{ Message string }
	err := c.getJSON(ctx, "/live", &answer)
	if err == nil && answer.Message != "alive" {
		err = c.unexpectedResponse(errors.New("the response has another message"))
	}
	return err
}

// Status returns the status of the daemon.
func (c Client) Status(ctx context.Context) (status server.Status, err error) {
	if err = c.getJSON(ctx, "/api/v1/status", &status); err == nil && status.State == "" {
		err = c.unexpectedResponse(errors.New("the response has no state"))
	}
	return status, err
}

// Pipelines returns the status of the daemon's pipelines.
func (c Client) Pipelines(ctx context.Context) ([]server.Pipeline, error) {
	var pipelines []server.Pipeline
	err := c.getJSON(ctx, "/api/v1/pipelines", &pipelines)
	return pipelines, err
}

// Changes returns the changes of a pipeline that were updated since then, newest first. The zero time stands for all.
func (c Client) Changes(ctx context.Context, pipeline string, since time.Time) ([]history.Change, error) {
	const page = 200 // the daemon returns not more at once
	values := url.Values{"limit": {strconv.Itoa(page)}}
	if !since.IsZero() {
		values.Set("since", since.Format(time.RFC3339Nano))
	}
	var changes []history.Change
	for {
		var answer server.Generations
		if err := c.getJSON(ctx, pipelinePath(pipeline)+"/generations?"+values.Encode(), &answer); err != nil {
			return nil, err
		}
		changes = append(changes, answer.Changes...)
		if answer.Next == 0 || len(answer.Changes) == 0 {
			return changes, nil
		}
		values.Set("before", strconv.FormatUint(answer.Next, 10))
	}
}

// NewestChange returns the newest change of a pipeline, and false if it has none.
func (c Client) NewestChange(ctx context.Context, pipeline string) (history.Change, bool, error) {
	var answer server.Generations
	if err := c.getJSON(ctx, pipelinePath(pipeline)+"/generations?limit=1", &answer); err != nil || len(answer.Changes) == 0 {
		return history.Change{}, false, err
	}
	return answer.Changes[0], true, nil
}

// Change returns one change of a pipeline.
func (c Client) Change(ctx context.Context, pipeline string, generation uint64) (change history.Change, err error) {
	err = c.getJSON(ctx, changePath(pipeline, generation), &change)
	return change, err
}

// Diff returns the unified diff of a change; it is empty if there is none or it is no longer kept.
func (c Client) Diff(ctx context.Context, pipeline string, generation uint64) (string, error) {
	diff, err := c.get(ctx, changePath(pipeline, generation)+"/diff")
	if IsGone(err) {
		return "", nil
	}
	return string(diff), err
}

func pipelinePath(name string) string { return "/api/v1/pipelines/" + url.PathEscape(name) }

func changePath(pipeline string, generation uint64) string {
	return pipelinePath(pipeline) + "/generations/" + strconv.FormatUint(generation, 10)
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

// getJSON decodes the response into v.
func (c Client) getJSON(ctx context.Context, path string, v any) error {
	body, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return c.unexpectedResponse(err)
	}
	return nil
}

func (c Client) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, ErrUntrusted) {
		return nil, fmt.Errorf("the daemon at %s is not trusted: %w", c.address, ErrUntrusted)
	}
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the method and the URL
		}
		return nil, &AwayError{c.address, err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, sidecar.MaxState))
	if err != nil {
		return nil, fmt.Errorf("reading the response of the daemon at %s: %w", c.address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.errorResponse(resp, body)
	}
	return body, nil
}

// An AwayError means that no daemon answers.
type AwayError struct {
	address string
	err     error
}

func (e *AwayError) Error() string {
	return fmt.Sprintf("no daemon answers at %s: start it, or name its configuration with -f or its address with --address; if "+
		"it ends at the start, its log says why: %v", e.address, e.err)
}

// Unwrap returns why there is no answer.
func (e *AwayError) Unwrap() error { return e.err }

// A statusError is a response of the daemon with errors.
type statusError struct {
	Code    int // the status code of HTTP
	address string
	errors  []string
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the daemon at %s answers: %s", e.address, strings.Join(e.errors, "; "))
	if e.Code == http.StatusUnauthorized {
		text += "; see --address and --client-cert"
	}
	return text
}

// IsGone reports whether err says that the daemon no longer keeps what was requested.
func IsGone(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.Code == http.StatusGone
}

// errorResponse returns the errors in a response.
func (c Client) errorResponse(resp *http.Response, body []byte) error {
	var answer struct{ Errors []string }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		err := fmt.Errorf("the status is %s", resp.Status)
		if c.scheme == "http" && resp.StatusCode == http.StatusBadRequest { // the response of a server that expects TLS
			err = fmt.Errorf("%w; if it expects TLS, name https://%s", err, c.address)
		}
		return c.unexpectedResponse(err)
	}
	return &statusError{resp.StatusCode, c.address, answer.Errors}
}

func (c Client) unexpectedResponse(err error) error {
	return fmt.Errorf("the server at %s is not haproxy-api, or another version of it: name another address with -f or "+
		"--address: %w", c.address, err)
}
