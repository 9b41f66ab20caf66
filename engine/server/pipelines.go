package server

import (
	"net"
	"net/http"
)

// getPipelines answers with the status of all pipelines.
func (s *Server) getPipelines(w http.ResponseWriter, r *http.Request) {
	_, pipelines := s.health(r.Context())
	writeJSON(w, http.StatusOK, pipelines)
}

// getPipeline answers with the status of one pipeline.
func (s *Server) getPipeline(w http.ResponseWriter, r *http.Request) {
	_, pipelines := s.health(r.Context())
	for _, p := range pipelines {
		if p.Name == r.PathValue("name") {
			writeJSON(w, http.StatusOK, p)
			return
		}
	}
	writeNoPipeline(w)
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
