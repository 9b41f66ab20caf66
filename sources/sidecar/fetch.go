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

// fetchTimeout bounds one fetch of the state, from dialling to the last byte.
const fetchTimeout = 10 * time.Second

// FetchState gets a state from the http or https URL address, in any encoding that [DecodeState] accepts. The path is
// /state.json in older Sidecars and /api/state.json in newer ones; where one is not found it tries the other. A user
// and password in the URL become basic authentication. It blocks for up to 10 seconds and reads up to [MaxState] bytes.
// The error names the URL without its password.
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
	if other := alternativeURL(u); other != nil && isNotFound(err) {
		if elsewhere, again := get(ctx, client, other, limit); !isNotFound(again) {
			content, err = elsewhere, again
		}
	}
	if err != nil {
		return sdk.Snapshot{}, err
	}
	snap, err := DecodeState(content, source)
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("%s does not return a Sidecar state: %w", Redacted(u), err)
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
		return nil, fmt.Errorf("reading the response of %s: %w", Redacted(u), withoutAddresses(err))
	}
	return content, nil
}

// open returns the response to a GET, which the caller must close, or an error if its status is not 200.
func open(ctx context.Context, client *http.Client, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", Redacted(u), withoutAddresses(err))
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
	return strings.TrimSpace(fmt.Sprintf("%s returns %d %s", e.url, e.code, http.StatusText(e.code)))
}

func isNotFound(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == http.StatusNotFound
}

// alternativeURL returns the URL of u in an older or newer Sidecar, or nil if there is none.
func alternativeURL(u *url.URL) *url.URL {
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

// withoutAddresses returns a network error without its addresses: the caller names the URL, and the local port differs each time,
// which would defeat log deduplication.
func withoutAddresses(err error) error {
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

var errTimeout = errors.New("timed out")

func newClient(redirectHosts []string) *http.Client {
	// There is no timeout for the whole request, since a watch stays open for months. Fetching a state sets one.
	return &http.Client{CheckRedirect: redirectPolicy(redirectHosts), Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: fetchTimeout / 2}).DialContext,
		TLSHandshakeTimeout: fetchTimeout / 2,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
	}}
}

// A redirectError reports a redirect to a host that is not configured.
type redirectError struct{ to *url.URL }

func (e *redirectError) Error() string {
	return fmt.Sprintf("redirect to another host, %s: set state_url to that address, or add %q to redirect_hosts",
		Redacted(e.to), e.to.Host)
}

// redirectPolicy follows a redirect only to the same host and port or to one of hosts, and never from https to http: a server at
// the configured address must not use this process to reach hosts that only this machine can reach.
func redirectPolicy(hosts []string) func(next *http.Request, via []*http.Request) error {
	const maxRedirects = 10
	return func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		sameHost := func(host string) bool { return strings.EqualFold(host, next.URL.Host) }
		switch {
		case first.Scheme == "https" && next.URL.Scheme != "https",
			!sameHost(first.Host) && !slices.ContainsFunc(hosts, sameHost):
			return &redirectError{next.URL}
		case len(via) >= maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return nil
	}
}

// A fetcher fetches the state in the background, one fetch at a time. It belongs to the goroutine that reads its results.
type fetcher struct {
	fetch   func(context.Context) (sdk.Snapshot, error)
	results chan fetchResult
	running bool // from start until the reader of the result resets it
}

type fetchResult struct {
	snap sdk.Snapshot
	err  error
}

func newFetcher(fetch func(context.Context) (sdk.Snapshot, error)) *fetcher {
	// The buffer lets the goroutine end even if nobody reads the result.
	return &fetcher{fetch: fetch, results: make(chan fetchResult, 1)}
}

func (f *fetcher) start(ctx context.Context, wg *sync.WaitGroup) {
	f.running = true
	wg.Go(func() {
		snap, err := f.fetch(ctx)
		f.results <- fetchResult{snap, err}
	})
}
