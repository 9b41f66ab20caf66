package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// A PushConfig is the configuration of a [Push].
type PushConfig struct {
	// StateURL is where the whole state is fetched at the start and after lost pushes. Empty disables fetching.
	StateURL string `json:"state_url"`

	// ResyncInterval is about how long after the last push the state is fetched in case a push was lost. 0 disables that.
	ResyncInterval time.Duration `json:"resync_interval"`

	// RedirectHosts are the hosts, each with its port unless it is the scheme's default, that StateURL may redirect to besides
	// its own. A redirect from https to http is never followed.
	RedirectHosts []string `json:"redirect_hosts"`

	// Subscriptions are the names of the services to use; none means all services.
	Subscriptions []string `json:"subscriptions"`

	// MaxBody is the maximum length of a push and of a state, in bytes.
	MaxBody int64 `json:"max_body"`
}

// PushDefaults returns the default configuration.
func PushDefaults() PushConfig {
	return PushConfig{
		StateURL:       "http://localhost:7777/state.json",
		ResyncInterval: time.Minute,
		MaxBody:        MaxState,
	}
}

// Validate returns all faults of c.
func (c PushConfig) Validate() error {
	var faults []error
	if c.StateURL != "" {
		if _, err := parseURL(c.StateURL); err != nil {
			faults = append(faults, fmt.Errorf("state_url: %w", err))
		}
	}
	if c.ResyncInterval < 0 {
		faults = append(faults, fmt.Errorf("resync_interval: %v is negative; 0s disables it", c.ResyncInterval))
	}
	if c.MaxBody <= 0 {
		faults = append(faults, fmt.Errorf("max_body: must be positive and is %d; the default is %d", c.MaxBody, int64(MaxState)))
	}
	return errors.Join(faults...)
}

// A Push is a source that receives the pushes of a Sidecar that has this address among its listeners.
type Push struct {
	name       string
	log        *slog.Logger
	config     PushConfig
	stateURL   *url.URL // nil where none is configured
	client     *http.Client
	latest     *latestPush
	lost       chan struct{}   // has one element after a push that could not be decoded
	rejected   logdedup.Faults // of pushes, by sender
	fetchFault logdedup.Fault
	budget     *bodyBudget

	decoding sync.Mutex
	decoder  catalog.Decoder
	content  []byte      // of the newest push, which decoder keeps
	spare    spareBuffer // has that of the previous one
}

// NewPush returns a source that is ready to receive. The error joins all faults of config.
func NewPush(env sdk.Env, config PushConfig) (*Push, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Push{
		name: env.Name, log: logOf(env), config: config, client: newClient(config.RedirectHosts), latest: newLatestPush(),
		lost: make(chan struct{}, 1), budget: newBodyBudget(config.MaxBody),
	}
	if config.StateURL != "" {
		p.stateURL, _ = parseURL(config.StateURL) // checked by Validate
	}
	return p, nil
}

// ServeHTTP receives one push: a POST of a StateChangedEvent. It answers 200 as soon as the event is decoded and does not
// wait until it is emitted, since Sidecar gives up after three seconds. A newer push replaces one that is not emitted
// yet. Errors are answered with {"errors":["…"]}: 405, 413, 400 for a body that is no StateChangedEvent, or 503 while
// the pushes that are being received take about twice MaxBody of memory.
func (p *Push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, http.StatusMethodNotAllowed, "method not allowed: POST a Sidecar StateChangedEvent")
		return
	}
	number := p.latest.begin()
	snap, err := p.receive(w, r)
	if err != nil {
		p.reject(r, err)
		writeError(w, statusOf(err), err.Error())
		return
	}
	p.latest.put(number, snap)
	client := clientAddress(r)
	p.rejected.At(client).Resolve(p.log, "push accepted again", "client", client)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}\n")
}

// Health reports why the state cannot be fetched.
func (p *Push) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: healthProblems("fetching the state failed", &p.fetchFault)}, nil
}

func (p *Push) receive(w http.ResponseWriter, r *http.Request) (sdk.Snapshot, error) {
	memory := reservation{budget: p.budget}
	defer memory.release()
	content, err := memory.read(http.MaxBytesReader(w, r.Body, p.config.MaxBody), r.ContentLength, p.spare.take(r.ContentLength))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return sdk.Snapshot{}, fmt.Errorf("invalid request body: %w", &catalog.TooLargeError{Limit: tooLarge.Limit})
	}
	if errors.Is(err, errBusy) {
		return sdk.Snapshot{}, err
	}
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("cannot read the request body: %w", withoutAddresses(err))
	}
	snap, err := p.decode(content)
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("invalid request body: %w", err)
	}
	snap = stamp(snap, p.name)
	snap.Cause, snap.Sender = sdk.CausePush, clientAddress(r)
	return subscribed(snap, p.config.Subscriptions), nil
}

// decode decodes one push at a time, because a large one may take more memory than its length.
func (p *Push) decode(content []byte) (sdk.Snapshot, error) {
	p.decoding.Lock()
	defer p.decoding.Unlock()
	snap, err := p.decoder.DecodeEvent(content)
	if err != nil {
		return snap, err
	}
	p.spare.put(p.content) // the decoder no longer uses it
	p.content = content
	return snap, nil
}

// reject logs the error of a push and makes Watch fetch the state. An empty body is such a push: Sidecar sends it when it retries
// a push that was not answered in time.
func (p *Push) reject(r *http.Request, err error) {
	client := clientAddress(r)
	p.rejected.At(client).Warn(p.log,
		"push rejected; fetching the state instead. If this recurs, check what sends to this address", err, "client", client)
	select {
	case p.lost <- struct{}{}:
	default:
	}
}

// clientAddress returns the address of the client without its port. Headers that name another one, such as those of a reverse
// proxy, are not trusted.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func statusOf(err error) int {
	if _, tooLarge := errors.AsType[*catalog.TooLargeError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	if errors.Is(err, errBusy) {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func writeError(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {sentence}})
}
