package server

import (
	"strings"
	"testing"
)

func TestMetrics_HAProxyRestarts(t *testing.T) {
	s := newTestServer(t, true)
	report := func(restarts string) {
		s.sink.mu.Lock()
		defer s.sink.mu.Unlock()
		s.sink.facts = map[string]string{"haproxy_restarts": restarts}
	}
	if _, body := s.ask("GET", "/metrics"); strings.Contains(body, "haproxy_api_haproxy_restarts_total{") {
		t.Error("a sink that reports no restarts has the metric")
	}
	report("3")
	s.metric(t, `haproxy_api_haproxy_restarts_total{pipeline="haproxy"} 3`)
	report("many") // a plugin may report anything
	if code, body := s.ask("GET", "/metrics"); code != 200 || strings.Contains(body, "haproxy_api_haproxy_restarts_total{") {
		t.Errorf("got %d", code)
	}
}
