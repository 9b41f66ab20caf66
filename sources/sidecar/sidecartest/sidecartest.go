// Package sidecartest is a Sidecar without gossip: it holds a catalogue that its owner changes by calling methods, and
// tells it in every way a real one does, weaknesses included. It is what the sources are tested against and what the
// demo shows, so it asks for no testing.T.
//
// The weaknesses, all of them seen at the real one: a push that is not answered within three seconds is tried again
// with what is left of the same buffer, which is nothing; events beyond 20 for a listener and 50 for a watch are
// dropped; a listener is told the state of the moment of sending, so that several pushes of a burst say the same,
// under one LastChanged; fields and map entries come in another order each time.
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

// Options say what a [Sidecar] is like. The zero value is fine.
type Options struct {
	Hostname    string           // the host it says it runs on; default "node-1"
	Cluster     string           // default "demo"
	Address     string           // where to listen; default "127.0.0.1:0", which is any free port
	Listeners   []string         // URLs to push to, user:password@ included
	Older       bool             // no /api paths, no by_service=false, no IP of ports
	PushTimeout time.Duration    // default 3 s
	RetryPause  time.Duration    // before the first retry of a push, and so much more before each next; default 100 ms
	Now         func() time.Time // default time.Now
	Log         *slog.Logger     // default none
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

// A Sidecar holds a catalogue and tells it. All methods are safe for several goroutines.
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

// New returns a Sidecar that knows nobody and is not started. It can be changed and asked by [Sidecar.ServeHTTP]
// already.
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

// Start listens and begins to push. It returns at once; everything ends with ctx or with [Sidecar.Close], one of which
// has to come. It is called once.
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
			s.options.Log.Error("the Sidecar stopped answering", "error", err)
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

// Close ends everything and waits for that. A push that is under way is given up.
func (s *Sidecar) Close() {
	s.stop()
	s.running.Wait()
	s.client.CloseIdleConnections()
}

// Address returns the host and port at which a started Sidecar listens.
func (s *Sidecar) Address() string { return s.address }

// URL returns the URL of path at a started Sidecar.
func (s *Sidecar) URL(path string) string { return "http://" + s.address + path }

// Snapshot returns what the Sidecar knows, as a source that has learned all of it would emit it.
func (s *Sidecar) Snapshot() sdk.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalogue.snapshot()
}

// Restart is a crash and a new start: streams break, events that wait are lost, and the Sidecar knows the services of
// its own host only.
func (s *Sidecar) Restart() {
	s.mu.Lock()
	s.catalogue.keepOnly(s.options.Hostname)
	s.started = s.options.Now()
	for _, l := range s.listeners {
		l.forget()
	}
	s.mu.Unlock()
	s.cutWatches()
}

var _ http.Handler = (*Sidecar)(nil)
