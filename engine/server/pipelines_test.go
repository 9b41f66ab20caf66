package server

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type detailedError struct{}

func (detailedError) Error() string  { return "a.cfg:1:4: no; do" }
func (detailedError) Detail() string { return "a.cfg:1:4: no\n   ^\n = do" }

func (detailedError) Position() (file string, line, column int) { return "a.cfg", 1, 4 }

func TestPipelines_TemplateError(t *testing.T) {
	p := newPipeline(engine.PipelineHealth{PipelineStatus: engine.PipelineStatus{
		Name: "p", TemplateError: &engine.TemplateError{Err: detailedError{}}, Nondeterministic: []string{"a.cfg:2: now"},
	}}, engine.SourceStatus{})
	if p.TemplateError != "a.cfg:1:4: no; do" || p.TemplateErrorDetail != "a.cfg:1:4: no\n   ^\n = do" ||
		*p.TemplateErrorAt != (Position{"a.cfg", 1, 4}) || !slices.Equal(p.Nondeterministic, []string{"a.cfg:2: now"}) {
		t.Errorf("got %+v", p)
	}
}

func TestPipelines_QuarantinedAreLimited(t *testing.T) {
	var all []engine.Quarantined
	for n := range 250 {
		all = append(all, engine.Quarantined{Service: "web", ID: strconv.Itoa(n), Hostname: "h", Reason: "r"})
	}
	p := newPipeline(engine.PipelineHealth{PipelineStatus: engine.PipelineStatus{Quarantined: all}}, engine.SourceStatus{})
	want := Quarantined{Service: "web", Instance: "99", Hostname: "h", Reason: "r"}
	if len(p.Quarantined) != 100 || p.Quarantined[99] != want || p.QuarantinedCount != 250 {
		t.Errorf("%d of %d, the last one %+v", len(p.Quarantined), p.QuarantinedCount, p.Quarantined[len(p.Quarantined)-1])
	}
}

func TestPipelines_ExcludedAreLimited(t *testing.T) {
	all := make([]exclude.Exclusion, 10_000)
	for n := range all {
		all[n] = exclude.Exclusion{Service: "web", ID: strconv.Itoa(n), Hostname: "h", Reason: "r"}
	}
	p := newPipeline(engine.PipelineHealth{PipelineStatus: engine.PipelineStatus{Excluded: all}}, engine.SourceStatus{})
	want := Exclusion{Service: "web", Instance: "99", Hostname: "h", Reason: "r"}
	if len(p.Excluded) != 100 || p.Excluded[99] != want || p.ExcludedCount != len(all) {
		t.Errorf("%d of %d, the last one %+v", len(p.Excluded), p.ExcludedCount, p.Excluded[len(p.Excluded)-1])
	}
}

func TestPipelines_Quarantine(t *testing.T) {
	s := newTestServer(t, true)
	good, bad := sdk.Instance{ID: "1", Name: "web", Hostname: "h"}, sdk.Instance{ID: "2", Name: "web", Hostname: "h h"}
	good.Labels = map[string]string{"rack": "a 1"}
	s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Services: sdk.GroupByName([]sdk.Instance{good, bad})}
	<-s.sink.applied
	got := s.waitForPipeline(t, func(p Pipeline) bool { return p.QuarantinedCount > 0 })
	want := Quarantined{Service: "web", Instance: "2", Hostname: `"h h"`, Reason: "Hostname contains white space"}
	if got.QuarantinedCount != 1 || got.Quarantined[0] != want {
		t.Errorf("got %+v", got)
	}
	want = Quarantined{Service: "web", Instance: "1", Hostname: "h", Reason: `the label rack contains white space`}
	if got.DroppedCount != 1 || len(got.Dropped) != 1 || got.Dropped[0] != want {
		t.Errorf("dropped: got %+v", got.Dropped)
	}
	_, metrics := s.ask("GET", "/metrics")
	for _, line := range []string{
		`haproxy_api_quarantined{source="sidecar"} 1`, `haproxy_api_instances{source="sidecar",status="Alive"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}
}

// Errors for requests to no endpoint have the form of all errors.
func TestNoEndpoint(t *testing.T) {
	s := newTestServer(t, true)
	for _, request := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/api/v1/nothing", 404}, {"GET", "/nothing", 404}, {"POST", "/api/v1/status", 405}, {"OPTIONS", "/metrics", 405},
		{"GET", "/api/v1/pipelines/haproxy/apply", 405}, {"GET", "/api/v1/pipelines/haproxy/", 404},
	} {
		code, body := s.ask(request.method, request.path)
		var answer struct{ Errors []string }
		if err := json.Unmarshal([]byte(body), &answer); code != request.code || err != nil || len(answer.Errors) != 1 {
			t.Errorf("%s %s: %d %s", request.method, request.path, code, body)
		}
	}
}
