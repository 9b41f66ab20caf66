// Package server is the daemon's HTTP surface: push endpoints, health, state and metrics.
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
	"sync/atomic"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// healthWithin bounds the time that sinks have to answer GET /health: probes give up after a few seconds.
	healthWithin = 2 * time.Second
	// drainWithin bounds how long requests under way may take once the daemon stops.
	drainWithin = 2 * time.Second
)

// limits bound what a client can take up.
type limits struct {
	connections int
	share       int           // of the connections, for one address
	reserve     int           // beside the connections, for probes and pushes while all others are busy
	grace       time.Duration // for a new connection, or one whose request ended, before it is closed for another one
	header      time.Duration // for a request's header, and for shaking hands over TLS
	read        time.Duration // for the whole request
	write       time.Duration // from the end of the header to the end of the answer; a stream of events moves its own
	idle        time.Duration // between two requests
	headerBytes int
	states      int           // different states in answers, at once
	turn        time.Duration // to wait for a place among them
}

func usualLimits() limits {
	return limits{
		connections: 512, share: 128, reserve: 32, grace: time.Second,
		header: 10 * time.Second, read: time.Minute, write: 2 * time.Minute, idle: 2 * time.Minute,
		headerBytes: 64 << 10, states: 8, turn: 5 * time.Second,
	}
}

// pushPaths are where pushes are posted to: the older haproxy-api's, and what people have in front of it.
var pushPaths = []string{"/update", "/api/update", "/sidecar/update"}

// Config says what a [Server] serves.
type Config struct {
	Engine      *engine.Engine
	Metrics     *Metrics
	Front       Front
	EncodeState func(io.Writer, sdk.Snapshot) error // in Sidecar's encoding
	Access      *AccessPolicy                       // nil for the zero AccessConfig
	Log         *slog.Logger
}

// A Front is the source that people and catalogues see.
type Front struct {
	Source   string       // whose snapshot /state and /health tell of
	Receiver http.Handler // takes the pushes; where it is nil, they are refused with a sentence
}

// A Server answers HTTP.
type Server struct {
	cfg    Config
	mux    *http.ServeMux
	access atomic.Pointer[AccessPolicy]
	front  atomic.Pointer[Front]
	limits limits
	states *stateCopies
}

// New prepares a server.
func New(cfg Config) *Server {
	cfg.Metrics.haproxy.engine.Store(cfg.Engine)
	s := &Server{cfg: cfg, mux: http.NewServeMux(), limits: usualLimits()}
	s.states = &stateCopies{encode: cfg.EncodeState, slots: make(chan struct{}, s.limits.states)}
	access := cfg.Access
	if access == nil {
		access, _ = NewAccessPolicy(AccessConfig{Log: cfg.Log}) // there is no file to read
	}
	s.SetAccessPolicy(access)
	s.SetFront(cfg.Front)
	for _, path := range pushPaths {
		s.mux.HandleFunc(path, s.push)
	}
	for _, path := range []string{"/state", "/state.json", "/api/state.json"} {
		s.mux.HandleFunc("GET "+path, s.state)
	}
	s.mux.HandleFunc("GET /health", s.health)
	s.mux.HandleFunc("GET /live", s.live)
	s.mux.HandleFunc("GET /ready", s.ready)
	s.mux.Handle("GET /metrics", cfg.Metrics.Handler())
	s.mux.HandleFunc("GET /api/v1/pipelines", s.pipelines)
	s.mux.HandleFunc("GET /api/v1/pipelines/{name}", s.pipeline)
	s.mux.HandleFunc("POST /api/v1/pipelines/{name}/release", s.release)
	s.mux.HandleFunc("POST /api/v1/pipelines/{name}/apply", s.apply)
	return s
}

// SetFront replaces the one in the configuration. Requests under way go on with the one before.
func (s *Server) SetFront(f Front) { s.front.Store(&f) }

// ServeHTTP answers one request, if the access policy authorizes it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		if !conn.begin(r) {
			w.Header().Set("Connection", "close")
			answerErrors(w, http.StatusServiceUnavailable, "all connections are busy: ask again in a moment")
			return
		}
		defer conn.end()
	}
	if s.access.Load().authorize(w, r) {
		s.mux.ServeHTTP(w, r)
	}
}

// SetAccessPolicy replaces the access policy, also while requests are served. It holds from the next request on, and its TLS
// settings from the next connection on. Requests over plain connections are denied once TLS is on.
func (s *Server) SetAccessPolicy(p *AccessPolicy) { s.access.Store(p) }

// Listen opens the address, such as "0.0.0.0:7778", that [Server.Serve] is to be called with.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; free it or set haproxy_api.bind_port", address, reason(err))
	}
	return listener, nil
}

// reason strips what the sentence around it says already.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// Serve answers requests on listener until ctx is done, then lets those under way finish for a moment. It speaks HTTP/1.1 alone:
// so the bound of connections is one of requests as well.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		Protocols:         new(http.Protocols),
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.read,
		WriteTimeout:      s.limits.write,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    s.limits.headerBytes,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(tlsListener{newConnLimiter(listener, s.limits), s.access.Load})
	if stop() {
		return fmt.Errorf("the HTTP server on %s ended: %w", listener.Addr(), err)
	}
	<-stopped
	return nil
}

func (s *Server) push(w http.ResponseWriter, r *http.Request) {
	if receiver := s.front.Load().Receiver; receiver != nil {
		receiver.ServeHTTP(w, r)
		return
	}
	answerErrors(w, http.StatusConflict, "this haproxy-api follows its catalogue and takes no pushes")
}

// health keeps the older answer's shape, which people's probes read.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthWithin)
	defer cancel()
	if problems := s.problems(ctx); len(problems) > 0 {
		answerErrors(w, http.StatusInternalServerError, problems...)
		return
	}
	answer := struct {
		Message            string        `json:"message"`
		LastChanged        time.Time     `json:"last_changed"`
		LastServiceChanged *sdk.Instance `json:"last_service_changed"`
	}{Message: "Healthy!"}
	if snap, ok := s.cfg.Engine.Snapshot(s.front.Load().Source); ok {
		answer.LastChanged = snap.Changed
		if snap.Last != nil {
			answer.LastServiceChanged = &snap.Last.Instance
		}
	}
	answerJSON(w, http.StatusOK, answer)
}

// problems names the pipeline with each problem where there are several.
func (s *Server) problems(ctx context.Context) []string {
	var all []string
	pipelines := s.cfg.Engine.Health(ctx)
	for _, p := range pipelines {
		for _, problem := range p.Problems {
			if len(pipelines) > 1 {
				problem = p.Name + ": " + problem
			}
			all = append(all, problem)
		}
	}
	return all
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, map[string]string{"message": "alive"})
}

// ready also tells what is held: what is served then is a good configuration, and not the newest.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var waiting []string
	answer := struct {
		Message string   `json:"message"`
		Held    []string `json:"held,omitempty"`
	}{Message: "ready"}
	for _, p := range s.cfg.Engine.Status() {
		if p.Generation == 0 {
			waiting = append(waiting, fmt.Sprintf("pipeline %s serves no configuration yet", p.Name))
		}
		if p.Held != nil {
			answer.Held = append(answer.Held, fmt.Sprintf("pipeline %s: %s", p.Name, p.Held.Reason))
		}
	}
	if len(waiting) > 0 {
		answerErrors(w, http.StatusServiceUnavailable, waiting...)
		return
	}
	answerJSON(w, http.StatusOK, answer)
}

func answerErrors(w http.ResponseWriter, code int, problems ...string) {
	answerJSON(w, code, map[string][]string{"errors": problems})
}

// answerJSON writes what always can be encoded, without secrets; a client that went away is no news.
func answerJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	content, _ := json.Marshal(body)
	_, _ = w.Write(append(engine.PrintableJSON(engine.MaskedJSON(content)), '\n'))
}
