// Package server serves HTTP: pushes, health, state, metrics and the API. It decides which requests are authorized. It knows the
// engine, and no concrete source or sink.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// shutdownTimeout bounds how long the requests that are served may take when the daemon stops.
const shutdownTimeout = 2 * time.Second

// limits bound the resources that clients can use.
type limits struct {
	connections   int
	perClient     int           // of the connections
	reserve       int           // connections for probes and pushes, used while all others are busy
	idleGrace     time.Duration // how long a connection may be idle before it is closed for a new one
	header        time.Duration // for the header of a request, and for the TLS handshake
	read          time.Duration // for the whole request
	write         time.Duration // from the end of the header to the end of the answer
	idle          time.Duration // between two requests
	headerBytes   int
	stateCopies   int           // encoded states that are held at once
	stateCopyWait time.Duration // how long a request waits for one of them

	streams          int           // of events
	streamsPerClient int           // of them
	eventWrite       time.Duration // for a client to read what is sent to it
	heartbeat        time.Duration // between two messages of a stream
}

func defaultLimits() limits {
	return limits{
		connections: 512, perClient: 128, reserve: 32, idleGrace: time.Second,
		header: 10 * time.Second, read: time.Minute, write: 2 * time.Minute, idle: 2 * time.Minute,
		headerBytes: 64 << 10, stateCopies: 8, stateCopyWait: 5 * time.Second,
		streams: 128, streamsPerClient: 32, eventWrite: 5 * time.Second, heartbeat: 15 * time.Second,
	}
}

// Config configures a [Server].
type Config struct {
	Engine      *engine.Engine
	Metrics     *Metrics
	Events      *Events // nil for none
	Series      *Series // nil for none
	Front       Front
	EncodeState func(io.Writer, sdk.Snapshot) error // encodes as Sidecar does
	Access      *AccessPolicy                       // nil for the zero AccessConfig
	Version     string                              // of the program
	Log         *slog.Logger

	StoreProblem func() string // why the state store cannot write, or ""; nil if there is no state store
}

// A Front is the source that /state, /health and the push endpoints belong to.
type Front struct {
	Source   string       // its name
	Receiver http.Handler // serves pushes; nil if the source takes none
}

// A Server is an [http.Handler] for all endpoints. It is safe for concurrent use.
type Server struct {
	cfg     Config
	started time.Time
	mux     *http.ServeMux
	access  atomic.Pointer[AccessPolicy]
	front   atomic.Pointer[Front]
	limits  limits
	states  *stateCopies
	streams eventStreams

	encodeFault logdedup.Fault // of the state

	configuration atomic.Pointer[Configuration]
}

// New returns a server. It does not listen yet: see [Server.Serve].
func New(cfg Config) *Server {
	cfg.Metrics.status.engine.Store(cfg.Engine)
	s := &Server{cfg: cfg, started: time.Now(), mux: http.NewServeMux(), limits: defaultLimits()}
	s.configuration.Store(&Configuration{Loaded: s.started})
	s.states = &stateCopies{encode: cfg.EncodeState, slots: make(chan struct{}, s.limits.stateCopies)}
	s.streams = eventStreams{open: map[*eventStream]netip.Addr{}, limits: &s.limits}
	if cfg.Events == nil {
		s.cfg.Events = NewEvents()
	}
	if cfg.Series == nil {
		s.cfg.Series = NewSeries()
	}
	access := cfg.Access
	if access == nil {
		access, _ = NewAccessPolicy(AccessConfig{Log: cfg.Log}) // it reads no file that could be invalid
	}
	s.SetAccessPolicy(access)
	s.SetFront(cfg.Front)
	for _, r := range s.routes() {
		s.mux.HandleFunc(strings.TrimSpace(r.method+" "+r.path), r.handler)
	}
	return s
}

// SetFront replaces the front. Requests that are being served continue with the previous one.
func (s *Server) SetFront(f Front) { s.front.Store(&f) }

// SetAccessPolicy replaces the access policy. It applies from the next request on, and its TLS settings from the next connection
// on. Requests over plain connections are denied once TLS is on. Streams of events that it does not authorize end.
func (s *Server) SetAccessPolicy(p *AccessPolicy) {
	s.access.Store(p)
	s.streams.endUnauthorized(p)
}

// ServeHTTP serves one request if the access policy authorizes it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // the files of the status page have their own
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if conn, ok := r.Context().Value(connKey{}).(*clientConn); ok {
		if !conn.begin(r) {
			w.Header().Set("Connection", "close")
			writeErrors(w, http.StatusServiceUnavailable, "all connections are busy: ask again in a moment")
			return
		}
		defer conn.end()
	}
	if s.access.Load().authorize(w, r) {
		s.mux.ServeHTTP(s.withoutPlainErrors(w, r), r)
	}
}

// Listen opens a listener for [Server.Serve] at an address such as "0.0.0.0:7778". The error names the address.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err // without the address
		}
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return listener, nil
}

// Serve serves requests on listener until ctx is done. Requests that are being served then have a moment to finish. It speaks
// only HTTP/1.1, so that the limit of connections is also one of requests.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.read,
		WriteTimeout:      s.limits.write,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    s.limits.headerBytes,
		BaseContext:       func(net.Listener) context.Context { return withStopping(context.Background(), ctx) },
		ConnContext:       withClientConn,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if server.Shutdown(shutdown) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(tlsListener{newPerClientListener(listener, s.limits), s.access.Load})
	if stop() {
		return fmt.Errorf("the HTTP server on %s ended: %w", listener.Addr(), err)
	}
	<-stopped
	return nil
}

func isPush(r *http.Request) bool { return slices.Contains(pushPaths, r.URL.Path) }

func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	if receiver := s.front.Load().Receiver; receiver != nil {
		receiver.ServeHTTP(w, r)
		return
	}
	writeErrors(w, http.StatusConflict, "pushes are not accepted: the source of this haproxy-api does not receive them")
}

func writeErrors(w http.ResponseWriter, code int, problems ...string) {
	writeJSON(w, code, map[string][]string{"errors": problems})
}

// writeJSON writes body as [encode] returns it. Write errors are ignored, because they mean that the client is gone.
func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(encode(body), '\n')) //nolint:gosec // browsers do not show it as a page
}

// encode returns body as one line of JSON with secrets masked and control characters escaped. body must be encodable.
func encode(body any) []byte {
	content, _ := json.Marshal(body)
	return engine.PrintableJSON(engine.MaskedJSON(content))
}
