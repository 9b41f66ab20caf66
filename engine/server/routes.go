package server

import (
	"net/http"

	"github.com/haproxy-api/haproxy-api/engine/server/ui"
)

// A route is an endpoint. All but those of the status page are described in openapi.yaml.
type route struct {
	method  string // "" for any
	path    string // with wildcards as of [http.ServeMux]
	handler http.HandlerFunc
}

// routes returns all endpoints.
func (s *Server) routes() []route {
	const (
		get, post = http.MethodGet, http.MethodPost
		pipeline  = "/api/v1/pipelines/{name}"
		change    = pipeline + "/generations/{generation}"
	)
	var all []route
	page := ui.NewHandler().ServeHTTP
	for _, path := range pushPaths {
		all = append(all, route{"", path, s.push})
	}
	for _, path := range statePaths {
		all = append(all, route{get, path, s.getState})
	}
	return append(all,
		route{get, "/health", s.getHealth},
		route{get, "/live", s.getLive},
		route{get, "/ready", s.getReady},
		route{get, "/metrics", s.cfg.Metrics.Handler().ServeHTTP},
		route{get, "/api/v1/openapi.json", getOpenAPI},
		route{get, "/api/v1/status", s.getStatus},
		route{get, "/api/v1/pipelines", s.getPipelines},
		route{get, pipeline, s.getPipeline},
		route{get, pipeline + "/generations", s.getGenerations},
		route{get, change, s.getGeneration},
		route{get, change + "/diff", s.getDiff},
		route{get, change + "/document", s.getDocument},
		route{get, pipeline + "/instances", s.getInstances},
		route{get, pipeline + "/series", s.getSeries},
		route{get, "/api/v1/events", s.getEvents},
		route{post, pipeline + "/release", s.releaseSnapshot},
		route{post, pipeline + "/apply", s.requestApply},
		route{get, "/{$}", page},
		route{get, "/ui/", page},
	)
}

// pushPaths are the endpoints for pushes: that of haproxy-api 0.9, and those under the prefixes of common reverse proxies.
var pushPaths = []string{"/update", "/api/update", "/sidecar/update"}

// statePaths are the endpoints for the state: that of haproxy-api 0.9, and that of Sidecar.
var statePaths = []string{"/state", "/state.json", "/api/state.json"}
