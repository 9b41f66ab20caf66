package server

import (
	"net/http"
	"strings"
)

// withoutPlainErrors returns w, or, for a request to no endpoint, a writer that writes the errors of [http.ServeMux] as those of
// the API.
func (s *Server) withoutPlainErrors(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		return w
	}
	return &errorWriter{ResponseWriter: w}
}

// An errorWriter replaces a plain error.
type errorWriter struct {
	http.ResponseWriter
	replaced bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *errorWriter) WriteHeader(code int) {
	switch code {
	case http.StatusNotFound:
		w.replaced = true
		writeErrors(w.ResponseWriter, code, "there is nothing at this path; GET /api/v1/openapi.json describes every endpoint")
	case http.StatusMethodNotAllowed:
		w.replaced = true
		writeErrors(w.ResponseWriter, code, "this method is not allowed here; allowed: "+
			strings.Join(w.Header().Values("Allow"), ", "))
	default:
		w.ResponseWriter.WriteHeader(code)
	}
}

// Write implements [http.ResponseWriter].
func (w *errorWriter) Write(content []byte) (int, error) {
	if w.replaced {
		return len(content), nil
	}
	return w.ResponseWriter.Write(content)
}
