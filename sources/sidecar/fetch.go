package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// fetchTimeout bounds one look at the state, from dialling to the last byte.
const fetchTimeout = 10 * time.Second

// FetchState gets a state from the http or https URL address, in any encoding that [DecodeState] knows. It knows that
// /state.json of older Sidecars is /api/state.json of newer ones and tries the other where the one is not found. A user
// and password in the URL become basic authentication. It blocks for up to 10 seconds and reads up to [MaxState] bytes.
// The error is one sentence that names the URL without its password.
func FetchState(ctx context.Context, client *http.Client, address, source string) (sdk.Snapshot, error) {
	u, err := parseURL(address)
	if err != nil {
		return sdk.Snapshot{}, err
	}
	own := *client
	own.CheckRedirect = redirectPolicy(nil)
	return fetchState(ctx, &own, u, source, MaxState)
}

func fetchState(
	ctx context.Context, client *http.Client, u *url.URL, source string, limit int64,
) (sdk.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	content, err := get(ctx, client, u, limit)
	if other := otherState(u); other != nil && isNotFound(err) {
		if elsewhere, again := get(ctx, client, other, limit); !isNotFound(again) {
			content, err = elsewhere, again
		}
	}
	if err != nil {
		return sdk.Snapshot{}, err
	}
	snap, err := DecodeState(content, source)
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("%s answers with something else than a Sidecar's state: %w", Redacted(u), err)
	}
	return snap, nil
}

func get(ctx context.Context, client *http.Client, u *url.URL, limit int64) ([]byte, error) {
	response, err := open(ctx, client, u)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := catalog.ReadAll(response.Body, limit)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s cannot be read: %w", Redacted(u), plain(err))
	}
	return content, nil
}

// open returns the answer to a GET, which the caller must close, or an error if it is not a 200.
func open(ctx context.Context, client *http.Client, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%s does not answer: %w", Redacted(u), plain(err))
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, &statusError{url: Redacted(u), code: response.StatusCode}
	}
	return response, nil
}

type statusError struct {
	url  string
	code int
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%s answers %d %s", e.url, e.code, http.StatusText(e.code)))
}

func isNotFound(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == http.StatusNotFound
}

// otherState returns the URL under which a Sidecar of another age has what u has, or nil if there is none.
func otherState(u *url.URL) *url.URL {
	base, found := strings.CutSuffix(u.Path, "/state.json")
	if !found {
		return nil
	}
	other := *u
	if older, newer := strings.CutSuffix(base, "/api"); newer {
		other.Path = older + "/state.json"
	} else {
		other.Path = base + "/api/state.json"
	}
	other.RawPath = ""
	return &other
}

// plain takes the addresses out of a network error: the caller's sentence names the URL, and our own port is another
// one each time, which would make one lasting trouble look like many.
func plain(err error) error {
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errTimeout
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

var errTimeout = errors.New("it took too long")

func newClient(redirectHosts []string) *http.Client {
	// No time limit for the whole: a watch is open for months. Whoever asks for a state sets one.
	return &http.Client{CheckRedirect: redirectPolicy(redirectHosts), Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: fetchTimeout / 2}).DialContext,
		TLSHandshakeTimeout: fetchTimeout / 2,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
	}}
}

// A redirectError says that an answer leads to another host than those that are configured.
type redirectError struct{ to *url.URL }

func (e *redirectError) Error() string {
	return fmt.Sprintf("it redirects to another host, %s: set state_url to that address, or add %q to redirect_hosts",
		Redacted(e.to), e.to.Host)
}

// redirectPolicy follows a redirect only to the host and port that was asked or to one of hosts, and never from https to http:
// a server that answers for the configured address must not reach others through us that only this machine can reach.
func redirectPolicy(hosts []string) func(next *http.Request, via []*http.Request) error {
	const most = 10
	return func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		sameHost := func(host string) bool { return strings.EqualFold(host, next.URL.Host) }
		switch {
		case first.Scheme == "https" && next.URL.Scheme != "https",
			!sameHost(first.Host) && !slices.ContainsFunc(hosts, sameHost):
			return &redirectError{next.URL}
		case len(via) >= most:
			return fmt.Errorf("it redirects more than %d times", most)
		}
		return nil
	}
}

// An asker fetches the state in the background, once at a time. It belongs to the goroutine that reads its answers.
type asker struct {
	fetch   func(context.Context) (sdk.Snapshot, error)
	answers chan answer
	busy    bool // true from ask until the answer was read and the reader set it back
}

type answer struct {
	snap sdk.Snapshot
	err  error
}

func newAsker(fetch func(context.Context) (sdk.Snapshot, error)) *asker {
	// Room for the one answer, so that the goroutine ends even if nobody reads it any more.
	return &asker{fetch: fetch, answers: make(chan answer, 1)}
}

func (a *asker) ask(ctx context.Context, wg *sync.WaitGroup) {
	a.busy = true
	wg.Go(func() {
		snap, err := a.fetch(ctx)
		a.answers <- answer{snap, err}
	})
}
