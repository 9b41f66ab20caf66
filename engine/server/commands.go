package server

import "net/http"

// release lets the held snapshot of a pipeline's source through.
func (s *Server) release(w http.ResponseWriter, r *http.Request) {
	released, err := s.cfg.Engine.Release(r.PathValue("name"))
	switch {
	case err != nil:
		s.noPipeline(w)
	case released:
		answerJSON(w, http.StatusOK, map[string]string{"message": "released"})
	default:
		answerJSON(w, http.StatusOK, map[string]string{"message": "nothing was held"})
	}
}

// apply does not wait for the sink, which may take long: what comes of it is in the pipeline's last offer.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Engine.Apply(r.PathValue("name")); err != nil {
		s.noPipeline(w)
		return
	}
	answerJSON(w, http.StatusAccepted, map[string]string{"message": "it is tried again now"})
}

func (s *Server) noPipeline(w http.ResponseWriter) {
	answerErrors(w, http.StatusNotFound, "there is no such pipeline; GET /api/v1/pipelines lists them")
}
