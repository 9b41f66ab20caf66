package server

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestStatusCollector_Facts(t *testing.T) {
	s := newTestServer(t, true)
	for fact, metric := range map[string]string{
		"haproxy_up": "haproxy_up", "haproxy_restarts": "haproxy_restarts_total", "old_workers_count": "haproxy_old_workers",
		"drift_repairs": "drift_repairs_total", "persist_pending": "persist_pending",
	} {
		name := "haproxy_api_" + metric + `{pipeline="haproxy"}`
		s.sink.setFacts(map[string]string{fact: "1"})
		s.waitForMetric(t, name+" 1")
		// A plugin may report anything, or nothing.
		for _, invalid := range []string{
			"", "many", "-1", "1.5", "NaN", "+Inf", "0x1", " 1", "99999999999999999999", "9007199254740993",
		} {
			s.sink.setFacts(map[string]string{fact: invalid})
			if code, body := s.ask("GET", "/metrics"); code != 200 || strings.Contains(body, name) {
				t.Errorf("%s=%q: got %d and the metric", fact, invalid, code)
			}
		}
	}
	for _, flag := range []string{"haproxy_up", "persist_pending"} {
		s.sink.setFacts(map[string]string{flag: "2"})
		if _, body := s.ask("GET", "/metrics"); strings.Contains(body, flag+"{") {
			t.Errorf("%s=2 has the metric", flag)
		}
	}
}

func TestStatusCollector_Pipeline(t *testing.T) {
	s := newTestServer(t, true)
	s.waitForMetric(t, `haproxy_api_generation{pipeline="haproxy"} 0`)
	s.waitForMetric(t, `haproxy_api_pipeline_in_sync{pipeline="haproxy"} 0`)
	if _, body := s.ask("GET", "/metrics"); strings.Contains(body, "haproxy_api_last_success_timestamp_seconds{") {
		t.Error("there was a success")
	}
	s.emit()
	s.waitForMetric(t, `haproxy_api_generation{pipeline="haproxy"} 1`)
	s.waitForMetric(t, `haproxy_api_pipeline_in_sync{pipeline="haproxy"} 1`)
	s.waitForMetric(t, `haproxy_api_template_accepted{pipeline="haproxy"} 1`)
	s.waitForMetric(t, `haproxy_api_source_up{source="sidecar"} 0`) // the test's source reports a problem
	if _, body := s.ask("GET", "/metrics"); !strings.Contains(body, "haproxy_api_last_success_timestamp_seconds{") {
		t.Error("there was no success")
	}
}

// hangingSink does not answer Health before it is released.
type hangingSink struct {
	*testSink
	release chan struct{}
}

func (h hangingSink) Health(context.Context) (sdk.Health, error) {
	<-h.release
	return sdk.Health{Facts: haproxyFacts}, nil
}

// A sink that hangs costs the scrape only its own facts, and at most the time limit.
func TestStatusCollector_HangingSink(t *testing.T) {
	hanging := hangingSink{&testSink{applied: make(chan struct{}, 10)}, make(chan struct{})}
	healthy := &testSink{applied: make(chan struct{}, 10), facts: haproxyFacts}
	source := &testSource{snapshots: make(chan sdk.Snapshot)}
	metrics := newTestMetrics("hanging", "healthy")
	e, err := engine.New(engine.Config{
		Sources: map[string]engine.SourceConfig{"s": {Source: source}},
		Pipelines: []engine.PipelineConfig{
			{Name: "hanging", Source: "s", Templates: fixedTemplate{}, Sink: hanging},
			{Name: "healthy", Source: "s", Templates: fixedTemplate{}, Sink: healthy},
		},
		Log: slog.New(slog.DiscardHandler), Observer: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{Server: New(Config{Engine: e, Metrics: metrics, Log: slog.New(slog.DiscardHandler)}), source: source}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { close(hanging.release); cancel(); <-done })
	web := []sdk.Instance{{ID: "1", Name: "web", Hostname: "h"}}
	source.snapshots <- sdk.Snapshot{Source: "s", Services: sdk.GroupByName(web)}
	for _, sink := range []*testSink{hanging.testSink, healthy} {
		<-sink.applied
	}
	answered := make(chan struct{})
	go func() { defer close(answered); s.ask("GET", "/metrics") }()
	select {
	case <-answered:
	case <-time.After(15 * scrapeTimeout):
		t.Fatal("the scrape hangs")
	}
	for _, pipeline := range []string{"hanging", "healthy"} {
		s.waitForMetric(t, fmt.Sprintf("haproxy_api_generation{pipeline=%q} 1", pipeline))
		s.waitForMetric(t, fmt.Sprintf(`haproxy_api_applies_total{action="reload",outcome="applied",pipeline=%q} 1`, pipeline))
	}
	s.waitForMetric(t, `haproxy_api_haproxy_up{pipeline="healthy"} 1`)
	if _, body := s.ask("GET", "/metrics"); strings.Contains(body, `haproxy_api_haproxy_up{pipeline="hanging"}`) {
		t.Error("the hanging sink has facts")
	}
}

func TestExcludedInstances(t *testing.T) {
	s := newTestServer(t, true)
	s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Services: sdk.GroupByName([]sdk.Instance{
		{ID: "1", Name: "web", Hostname: "h"}, {ID: "2", Name: "web", Hostname: "h"}, {ID: "3", Name: "chat", Hostname: "h"},
	})}
	<-s.sink.applied
	status := engine.PipelineStatus{Source: "sidecar"}
	for _, test := range []struct {
		service, id string
		want        int
	}{{"chat", "3", 1}, {"web", "", 3}, {"gone", "", 3}} {
		status.Excluded = append(status.Excluded, exclude.Exclusion{Service: test.service, ID: test.id})
		if got := excludedInstances(s.cfg.Engine, status); got != test.want {
			t.Errorf("%d after %+v, want %d", got, test, test.want)
		}
	}
}
