package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// StateURL is where the whole state can be fetched: at the start, and to make good for lost pushes. Empty means
	// that only pushes count.
	StateURL string `json:"state_url"`

	// ResyncInterval is about how long after the last push the state is fetched to see whether a push was lost. 0 means
	// that it never is without a hint.
	ResyncInterval time.Duration `json:"resync_interval"`

	// RedirectHosts are further hosts, each with its port unless that is the scheme's own, that StateURL may redirect to. Its own
	// host is always one, and a redirect from https to http is never followed.
	RedirectHosts []string `json:"redirect_hosts"`

	// Subscriptions are the names of the services that count; none of them means all services.
	Subscriptions []string `json:"subscriptions"`

	// MaxBody is the largest push, and the largest state, that is read, in bytes.
	MaxBody int64 `json:"max_body"`
}

// PushDefaults returns the configuration that holds where nothing is said.
func PushDefaults() PushConfig {
	return PushConfig{
		StateURL:       "http://localhost:7777/state.json",
		ResyncInterval: time.Minute,
		MaxBody:        MaxState,
	}
}

// Validate returns all that is wrong with c.
func (c PushConfig) Validate() error {
	var faults []error
	if c.StateURL != "" {
		if _, err := parseURL(c.StateURL); err != nil {
			faults = append(faults, fmt.Errorf("state_url: %w", err))
		}
	}
	if c.ResyncInterval < 0 {
		faults = append(faults, fmt.Errorf("resync_interval: %v is less than nothing; 0s turns it off", c.ResyncInterval))
	}
	if c.MaxBody <= 0 {
		faults = append(faults, fmt.Errorf("max_body: %d bytes is too little; the default is %d", c.MaxBody, int64(MaxState)))
	}
	return errors.Join(faults...)
}

// A Push is told of changes by a Sidecar that has our address among its listeners.
type Push struct {
	name     string
	log      *slog.Logger
	config   PushConfig
	stateURL *url.URL // nil where none is configured
	client   *http.Client
	slot     *slot
	lost     chan struct{}  // has one element after a push that could not be read
	refused  logdedup.Fault // pushes
	trouble  logdedup.Fault // with fetching the state
	reading  *budget

	decoding sync.Mutex
	decoder  catalog.Decoder
	content  []byte // of the newest push, which decoder keeps
	spare    spare  // has that of the one before
}

// NewPush returns a source that is ready to receive. The error lists all that is wrong with config.
func NewPush(env sdk.Env, config PushConfig) (*Push, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Push{
		name: env.Name, log: logOf(env), config: config, client: newClient(config.RedirectHosts), slot: newSlot(),
		lost: make(chan struct{}, 1), reading: newBudget(config.MaxBody),
	}
	if config.StateURL != "" {
		p.stateURL, _ = parseURL(config.StateURL) // Validate has seen it
	}
	return p, nil
}

// ServeHTTP takes one push: a POST of a StateChangedEvent. It answers 200 as soon as that is decoded and stands in
// line, and never waits for what is made of it, as Sidecar gives up after three seconds. A newer push replaces one
// that still stands in line. Everything else is answered with {"errors":["…"]}: 405, 413, 400 for what is no
// StateChangedEvent, or 503 while so many pushes are being read that they would take about twice MaxBody in memory.
func (p *Push) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "a push is a POST of a Sidecar's StateChangedEvent")
		return
	}
	number := p.slot.arrive()
	snap, err := p.receive(w, r)
	if err != nil {
		p.mourn(r, err)
		refuse(w, statusOf(err), err.Error())
		return
	}
	p.slot.put(number, snap)
	p.refused.Resolve(p.log, "a push was accepted again", "from", r.RemoteAddr)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}\n")
}

// Health tells why the state cannot be fetched now.
func (p *Push) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: problems("the state cannot be fetched", &p.trouble)}, nil
}

func (p *Push) receive(w http.ResponseWriter, r *http.Request) (sdk.Snapshot, error) {
	room := room{budget: p.reading}
	defer room.leave()
	content, err := room.read(http.MaxBytesReader(w, r.Body, p.config.MaxBody), r.ContentLength, p.spare.take(r.ContentLength))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return sdk.Snapshot{}, fmt.Errorf("the body is no push: %w", &catalog.TooLargeError{Limit: tooLarge.Limit})
	}
	if errors.Is(err, errBusy) {
		return sdk.Snapshot{}, err
	}
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("the body cannot be read: %w", plain(err))
	}
	snap, err := p.decode(content)
	if err != nil {
		return sdk.Snapshot{}, fmt.Errorf("the body is no push: %w", err)
	}
	return subscribed(taken(snap, p.name), p.config.Subscriptions), nil
}

// decode decodes one push after another: a large one may take more than its size in memory.
func (p *Push) decode(content []byte) (sdk.Snapshot, error) {
	p.decoding.Lock()
	defer p.decoding.Unlock()
	snap, err := p.decoder.DecodeEvent(content)
	if err != nil {
		return snap, err
	}
	p.spare.put(p.content) // the decoder has let go of it
	p.content = content
	return snap, nil
}

// mourn makes Watch fetch what a push that cannot be read would have told. That is what an empty one means: the first
// try did not reach us in time, and Sidecar had nothing left to send in the second.
func (p *Push) mourn(r *http.Request, err error) {
	p.refused.Warn(p.log, "a push was refused, and the state is fetched instead: see what sends to this address if that goes on",
		err, "from", r.RemoteAddr)
	select {
	case p.lost <- struct{}{}:
	default:
	}
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

func refuse(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {sentence}})
}
