package server

import (
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const noPipeline = `{"errors":["there is no such pipeline; GET /api/v1/pipelines lists them"]}`

func TestRelease(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	s.want(t, "POST", "/api/v1/pipelines/haproxy/release", 200, `{"message":"nothing was held"}`)
	s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Taken: time.Now()}
	p := s.waitForPipeline(t, func(p Pipeline) bool { return p.Held != nil && p.Generation > 0 })
	if p.Held.Reason != "none of 1 live instance is left" || p.Held.Until.Sub(p.Held.Since) != time.Hour || len(p.Problems) != 0 {
		t.Errorf("got %+v, held %+v", p, p.Held)
	}
	if code, body := s.ask("GET", "/health"); code != 200 {
		t.Errorf("health while held: %d %s", code, body)
	}
	s.want(t, "GET", "/ready", 200, `{"message":"ready","held":["pipeline haproxy: none of 1 live instance is left"]}`)
	s.waitForMetric(t, `haproxy_api_held{pipeline="haproxy"} 1`)
	s.waitForMetric(t, `haproxy_api_snapshots_total{outcome="held",source="sidecar"} 1`)
	s.waitForMetric(t, `haproxy_api_instances{source="sidecar",status="Alive"} 1`)

	s.want(t, "POST", "/api/v1/pipelines/x/release", 404, noPipeline)
	s.want(t, "POST", "/api/v1/pipelines/haproxy/release", 200, `{"message":"released"}`)
	s.waitForPipeline(t, func(p Pipeline) bool { return p.Held == nil })
	s.waitForMetric(t, `haproxy_api_held{pipeline="haproxy"} 0`)
}

func TestRequestApply(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	s.want(t, "POST", "/api/v1/pipelines/x/apply", 404, noPipeline)
	s.want(t, "POST", "/api/v1/pipelines/haproxy/apply", 202, `{"message":"apply requested"}`)
	<-s.sink.applied
	s.waitForPipeline(t, func(p Pipeline) bool { return p.Last.Trigger == "request" })
	_, body := s.ask("GET", "/api/v1/pipelines/haproxy/generations?trigger=request")
	if want := `"trigger":{"kind":"request","detail":"192.0.2.1"}`; !strings.Contains(body, want) {
		t.Errorf("no %s in %s", want, body)
	}
}
