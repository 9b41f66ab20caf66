// Package sidecartest simulates a Sidecar without gossip, for tests. Its catalogue is changed by method calls and is served and
// pushed in every form of the real Sidecar. It does not use the codec of the sources, which is tested against it.
//
// It also has the weaknesses that were observed with the real Sidecar:
//
//   - A push that is not answered within three seconds is retried with the rest of the same buffer, which is empty.
//   - Events are dropped if more than 20 wait for a listener or more than 50 for a watch.
//   - A push contains the state at the time of sending, so the pushes of a burst have the same state and LastChanged.
//   - Fields and map entries are in another order each time.
package sidecartest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Options configure a [Sidecar]. The zero value is valid.
type Options struct {
	Hostname    string           // the name of its own host; default "node-1"
	Cluster     string           // default "demo"
	Address     string           // the listen address; default "127.0.0.1:0", a free port
	Listeners   []string         // URLs to push to, user:password@ included
	Older       bool             // no /api paths, no by_service=false, no IP of ports
	PushTimeout time.Duration    // default 3 s
	RetryPause  time.Duration    // before the first retry of a push; it grows by this much with each retry; default 100 ms
	Now         func() time.Time // default time.Now
	Log         *slog.Logger     // default: no log
}

func (o Options) withDefaults() Options {
	setDefault(&o.Hostname, "node-1")
	setDefault(&o.Cluster, "demo")
	setDefault(&o.Address, "127.0.0.1:0")
	setDefault(&o.PushTimeout, 3*time.Second)
	setDefault(&o.RetryPause, 100*time.Millisecond)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// A Sidecar serves and pushes a catalogue. Its methods are safe for concurrent use.
type Sidecar struct {
	options Options
	client  *http.Client
	stop    context.CancelFunc
	server  *http.Server
	address string
	running sync.WaitGroup

	mu        sync.Mutex
	catalogue catalogue
	started   time.Time
	listeners []*listener
	watches   map[*watch]struct{}
}

// New returns a Sidecar with an empty catalogue. Before [Sidecar.Start], the catalogue can be changed and [Sidecar.ServeHTTP]
// answers requests.
func New(options Options) *Sidecar {
	options = options.withDefaults()
	return &Sidecar{
		options:   options,
		client:    &http.Client{Timeout: options.PushTimeout, Transport: &http.Transport{}},
		stop:      func() {},
		catalogue: catalogue{cluster: options.Cluster, hostname: options.Hostname, older: options.Older},
		started:   options.Now(),
		watches:   map[*watch]struct{}{},
	}
}

// Start listens at the address and starts to push. It does not block. Either ctx or [Sidecar.Close] must stop the Sidecar. Start
// must be called at most once.
func (s *Sidecar) Start(ctx context.Context) error {
	var config net.ListenConfig
	socket, err := config.Listen(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("the Sidecar cannot listen on %s: %w", s.options.Address, err)
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.address = socket.Addr().String()
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() {
		if err := s.server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			s.options.Log.Error("HTTP server failed", "error", err)
		}
	})
	s.running.Go(func() {
		<-ctx.Done()
		s.cutWatches()
		_ = s.server.Close()
	})
	for _, url := range s.options.Listeners {
		l := newListener(url)
		s.mu.Lock()
		s.listeners = append(s.listeners, l)
		s.mu.Unlock()
		s.running.Go(func() { s.push(ctx, l) })
	}
	return nil
}

// Close stops the Sidecar and waits until all its goroutines have ended. It aborts a push in progress.
func (s *Sidecar) Close() {
	s.stop()
	s.running.Wait()
	s.client.CloseIdleConnections()
}

// Address returns the host and port of a started Sidecar.
func (s *Sidecar) Address() string { return s.address }

// URL returns the URL of a path on a started Sidecar.
func (s *Sidecar) URL(path string) string { return "http://" + s.address + path }

// Snapshot returns the catalogue as a source emits it.
func (s *Sidecar) Snapshot() sdk.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalogue.snapshot()
}

// Restart simulates a crash and a restart: it breaks the streams, drops pending events, and keeps only the services of its own
// host.
func (s *Sidecar) Restart() {
	s.mu.Lock()
	s.catalogue.keepOnly(s.options.Hostname)
	s.started = s.options.Now()
	for _, l := range s.listeners {
		l.dropEvents()
	}
	s.mu.Unlock()
	s.cutWatches()
}

var _ http.Handler = (*Sidecar)(nil)
