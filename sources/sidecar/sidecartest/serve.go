package sidecartest

import (
	"net/http"
	"strings"
)

const watchBuffer = 50 // pending events of a watch; further ones are dropped

// ServeHTTP serves /state.json, /services.json and /watch, and unless Older is set the same paths under /api.
func (s *Sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if newer, found := strings.CutPrefix(path, "/api/"); found && !s.options.Older {
		path = "/" + newer
	}
	w.Header().Set("Content-Type", "application/json")
	switch path {
	case "/state.json":
		s.send(w, (*catalogue).state)
	case "/services.json":
		s.send(w, (*catalogue).services)
	case "/watch":
		s.serveWatch(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Sidecar) send(w http.ResponseWriter, what func(*catalogue) object) bool {
	content, err := s.encode(what)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return false
	}
	if _, err = w.Write(content); err != nil {
		return false
	}
	return http.NewResponseController(w).Flush() == nil
}

// A watch is an open stream.
type watch struct {
	events chan event
	cut    chan struct{}
}

func (w *watch) announce(e event) {
	select {
	case w.events <- e:
	default: // the real Sidecar drops it too
	}
}

func (s *Sidecar) serveWatch(w http.ResponseWriter, r *http.Request) {
	what := (*catalogue).byService
	if r.URL.Query().Get("by_service") == "false" && !s.options.Older {
		what = (*catalogue).state
	}
	stream := s.openWatch()
	defer s.closeWatch(stream)
	for s.send(w, what) {
		select {
		case <-stream.events:
		case <-stream.cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Sidecar) openWatch() *watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := &watch{events: make(chan event, watchBuffer), cut: make(chan struct{})}
	s.watches[stream] = struct{}{}
	return stream
}

func (s *Sidecar) closeWatch(stream *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watches, stream)
}

func (s *Sidecar) cutWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.watches {
		close(stream.cut)
		delete(s.watches, stream)
	}
}
