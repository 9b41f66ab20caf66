package server

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// getPipelines answers with the status of all pipelines.
func (s *Server) getPipelines(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.pipelines(r.Context()))
}

// getPipeline answers with the status of one pipeline.
func (s *Server) getPipeline(w http.ResponseWriter, r *http.Request) {
	for _, p := range s.pipelines(r.Context()) {
		if p.Name == r.PathValue("name") {
			writeJSON(w, http.StatusOK, p)
			return
		}
	}
	writeNoPipeline(w)
}

// pipelines returns the status of all pipelines. It asks all sinks and sources for their health at once.
func (s *Server) pipelines(ctx context.Context) []Pipeline {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	status := s.cfg.Engine.Status()
	sources := make([]sdk.Health, len(status))
	var wg sync.WaitGroup
	for i, p := range status {
		wg.Go(func() { sources[i] = s.cfg.Engine.SourceHealth(ctx, p.Source) })
	}
	health := s.cfg.Engine.Health(ctx)
	wg.Wait()
	all := []Pipeline{}
	for _, h := range health {
		p := newPipeline(h.PipelineStatus, h.Health)
		// The configuration may have been reloaded between the two calls.
		if i := slices.IndexFunc(status, func(other engine.PipelineStatus) bool { return other.Name == p.Name }); i >= 0 {
			p.SourceProblems, p.SourceFacts = sources[i].Problems, sources[i].Facts
		}
		all = append(all, p)
	}
	return all
}

// releaseSnapshot lets the held snapshot of a pipeline's source through.
func (s *Server) releaseSnapshot(w http.ResponseWriter, r *http.Request) {
	released, err := s.cfg.Engine.Release(r.PathValue("name"), clientAddress(r))
	switch {
	case err != nil:
		writeNoPipeline(w)
	case released:
		writeJSON(w, http.StatusOK, map[string]string{"message": "released"})
	default:
		writeJSON(w, http.StatusOK, map[string]string{"message": "nothing was held"})
	}
}

// requestApply makes the pipeline apply again. It does not wait for the sink, which may take long: the outcome is in the
// pipeline's status.
func (s *Server) requestApply(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Engine.Apply(r.PathValue("name"), clientAddress(r)); err != nil {
		writeNoPipeline(w)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]string{"message": "apply requested"})
}

// clientAddress returns the address of the client without its port.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func writeNoPipeline(w http.ResponseWriter) {
	writeErrors(w, http.StatusNotFound, "there is no such pipeline; GET /api/v1/pipelines lists them")
}
