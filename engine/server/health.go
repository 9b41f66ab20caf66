package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// healthTimeout bounds the time that sinks and sources have to report their health. Probes give up after a few seconds.
const healthTimeout = 2 * time.Second

// probePaths reveal only the state of the daemon. Load balancers and orchestrators request them under any name and without a
// secret.
var probePaths = []string{"/live", "/ready", "/health"}

func isProbe(r *http.Request) bool { return slices.Contains(probePaths, r.URL.Path) }

// getHealth has the form of haproxy-api 0.9, which existing probes read.
func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if problems := s.problems(ctx); len(problems) > 0 {
		writeErrors(w, http.StatusInternalServerError, problems...)
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
	writeJSON(w, http.StatusOK, answer)
}

// problems returns the problems of all pipelines, with the pipeline's name if there are several pipelines.
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

func (s *Server) getLive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"message": "alive"})
}

// getReady fails until the daemon is ready. A held snapshot does not make the daemon unready, because a good configuration is
// applied; the answer names it.
func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) {
	if pending := s.NotReady(); len(pending) > 0 {
		writeErrors(w, http.StatusServiceUnavailable, pending...)
		return
	}
	answer := struct {
		Message string   `json:"message"`
		Held    []string `json:"held,omitempty"`
	}{Message: "ready"}
	for _, p := range s.cfg.Engine.Status() {
		if p.Held != nil {
			answer.Held = append(answer.Held, fmt.Sprintf("pipeline %s: %s", p.Name, p.Held.Reason))
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

// NotReady returns why the daemon is not ready: one message for each pipeline that has not applied a document yet. It returns
// none if the daemon is ready.
func (s *Server) NotReady() []string {
	var pending []string
	for _, p := range s.cfg.Engine.Status() {
		if p.Generation == 0 {
			pending = append(pending, fmt.Sprintf("pipeline %s has not applied a configuration yet", p.Name))
		}
	}
	return pending
}
