package server

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// streamEndTimeout bounds how long a stream that has to end waits for a client that does not read.
const streamEndTimeout = 500 * time.Millisecond

// getEvents sends events as they happen, in the format of server-sent events. A client that reconnects with the id of the last
// event that it received gets those after it.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx passes each event on at once
	if r.Method == http.MethodHead {
		return
	}
	ctx, end := context.WithCancel(r.Context())
	defer end()
	defer context.AfterFunc(stoppingOf(r.Context()), end)()
	stream := &eventStream{request: r, end: end}
	if !s.streams.add(stream) {
		w.Header().Set("Retry-After", "5")
		writeErrors(w, http.StatusServiceUnavailable, "too many clients are reading events: ask again in a moment")
		return
	}
	defer s.streams.remove(stream)
	if s.access.Load().check(r) != nil { // the policy was replaced before the stream was added
		return
	}
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("last_event_id")
	}
	s.sendEvents(ctx, w, r, s.cfg.Events.reader(id))
}

// sendEvents sends what reader reads until ctx is done, the client does not read or is no longer authorized. The client waits for
// two seconds before it reconnects. It learns the id of the newest event at once, so that it misses none if it reconnects before
// the next event.
func (s *Server) sendEvents(ctx context.Context, w http.ResponseWriter, r *http.Request, reader *eventReader) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the deadline of the request would end the stream
	// A write that blocks ends soon after ctx is done.
	defer context.AfterFunc(ctx, func() { _ = control.SetWriteDeadline(time.Now().Add(streamEndTimeout)) })()
	content := []byte("retry: 2000\nid: " + reader.id() + "\n\n")
	for checked := time.Now(); ctx.Err() == nil; {
		if time.Since(checked) >= s.limits.heartbeat { // the authority of its certificate may be gone
			if s.access.Load().check(r) != nil {
				return
			}
			checked = time.Now()
		}
		_ = control.SetWriteDeadline(time.Now().Add(s.limits.eventWrite))
		if _, err := w.Write(content); err != nil || control.Flush() != nil { //nolint:gosec // browsers do not show it as a page
			return
		}
		wait, cancel := context.WithTimeout(ctx, s.limits.heartbeat)
		content = reader.next(wait)
		cancel()
		if content == nil {
			content = []byte(": heartbeat\n\n")
		}
	}
}

// eventStreams are the streams of events that are open. They are limited, in total and for each client, because each has a
// connection that is never idle.
type eventStreams struct {
	limits *limits

	mu   sync.Mutex
	open map[*eventStream]netip.Addr // with the client
}

// An eventStream is an answer to a request for events.
type eventStream struct {
	request *http.Request
	end     func()
}

// add adds a stream and reports false if there are too many.
func (s *eventStreams) add(stream *eventStream) bool {
	client := clientOf(stream.request.RemoteAddr)
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	for _, other := range s.open {
		if other == client {
			own++
		}
	}
	if len(s.open) >= s.limits.streams || own >= s.limits.streamsPerClient {
		return false
	}
	s.open[stream] = client
	return true
}

func (s *eventStreams) remove(stream *eventStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, stream)
}

// endUnauthorized ends the streams that the policy does not authorize.
func (s *eventStreams) endUnauthorized(policy *AccessPolicy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.open {
		if policy.check(stream.request) != nil {
			stream.end()
		}
	}
}

type stoppingKey struct{}

// withStopping returns a context with which [stoppingOf] returns stopping. It is for requests that would not end by themselves.
func withStopping(ctx, stopping context.Context) context.Context {
	return context.WithValue(ctx, stoppingKey{}, stopping)
}

// stoppingOf returns a context that is done when the HTTP server begins to stop.
func stoppingOf(ctx context.Context) context.Context {
	if stopping, ok := ctx.Value(stoppingKey{}).(context.Context); ok {
		return stopping
	}
	return ctx
}
