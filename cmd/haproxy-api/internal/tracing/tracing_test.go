package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/otlptest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTracer returns a tracer that sends to that URL.
func newTracer(t *testing.T, url string, log *slog.Logger) *Tracer {
	t.Helper()
	tracer := New("1.2.3", log)
	if err := tracer.Configure(t.Context(), config.Tracing{Enabled: true, Endpoint: url, Sample: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTracer(t, tracer) })
	return tracer
}

// closeTracer waits until everything is sent.
func closeTracer(t *testing.T, tracer *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Error(err)
	}
	tracer.closing.Wait()
}

// apply makes a change with a step of the daemon and a step of the sink, and returns the trace context that the sink gets.
func apply(tracer *Tracer, c history.Change) string {
	c.Received = time.Now().Add(-time.Second)
	ctx := tracer.Applying(context.Background(), "edge", sdk.Document{Generation: c.Document}, c.Received)
	now := time.Since(c.Received).Seconds()
	c.Steps = []history.Step{
		{Name: "wait", Start: 0, Seconds: 0.1}, {Name: "render", Start: 0.1, Seconds: 0.2},
		{Name: "check", Start: now, Seconds: 3600},
	}
	c.Updated = time.Now()
	tracer.Changed("edge", c)
	return sdk.TraceParent(ctx)
}

func TestTracer_SendsOneTraceForEachChange(t *testing.T) {
	collector := otlptest.Start(t)
	tracer := newTracer(t, collector.URL, slog.New(slog.DiscardHandler))
	entry := history.Change{Generation: 7, Document: 7, Attempts: 1, Trigger: history.Trigger{Kind: history.TriggerPush}}
	entry.Outcome = history.OutcomeDeferred
	first := apply(tracer, entry)
	entry.Outcome, entry.Attempts, entry.Action = history.OutcomeApplied, 2, sdk.ActionReload
	second := apply(tracer, entry)
	tracer.Changed("edge", entry) // an update of a change that is over
	tracer.Changed("edge", history.Change{Generation: 8, Document: 7, Outcome: history.OutcomeEvent})
	closeTracer(t, tracer)

	spans := collector.Spans()
	var got []string
	byID := map[string]otlptest.Span{}
	for _, s := range spans {
		byID[s.ID] = s
	}
	for _, s := range spans {
		got = append(got, byID[s.Parent].Name+"/"+s.Name)
		if parent, ok := byID[s.Parent]; ok && (s.Begin.Before(parent.Begin) || s.End.After(parent.End)) {
			t.Errorf("%s is not within its parent %s", s.Name, parent.Name)
		}
		if s.Trace != spans[0].Trace || s.End.Before(s.Begin) || s.Attributes["service.version"] != "1.2.3" {
			t.Errorf("%+v", s)
		}
		isParent := slices.Contains([]string{first, second}, "00-"+s.Trace+"-"+s.ID+"-01")
		if isParent != (s.Name == "apply") {
			t.Errorf("the sink got %s and %s, not %s of span %s", first, second, s.ID, s.Name)
		}
		if s.Parent == "" {
			if a := s.Attributes; a["haproxy_api.pipeline"] != "edge" || a["haproxy_api.action"] != "reload" ||
				a["haproxy_api.outcome"] != "applied" || a["haproxy_api.trigger"] != "push" || s.Failed {
				t.Errorf("root %+v", s)
			}
		}
	}
	want := []string{"/change", "apply/check", "apply/check", "change/apply", "change/apply", "change/render", "change/wait"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("spans %q, want %q", got, want)
	}
	if paths := collector.Paths(); !slices.Equal(paths, []string{"/v1/traces"}) {
		t.Errorf("paths %v", paths)
	}
}

func TestTracer_EndsTracesAsTheOutcomeSays(t *testing.T) {
	for outcome, want := range map[string]struct{ traces, failed int }{
		history.OutcomeApplied: {1, 0}, history.OutcomeSuperseded: {1, 0},
		history.OutcomeRejected: {1, 2}, history.OutcomeNotLoaded: {1, 2},
		history.OutcomeDeferred: {0, 0}, history.OutcomeFailed: {0, 1}, // only the apply is over
	} {
		t.Run(outcome, func(t *testing.T) {
			collector := otlptest.Start(t)
			tracer := newTracer(t, collector.URL, slog.New(slog.DiscardHandler))
			apply(tracer, history.Change{Document: 1, Attempts: 1, Outcome: outcome, Error: "x"})
			closeTracer(t, tracer)
			var roots, failed int
			for _, s := range collector.Spans() {
				if s.Parent == "" {
					roots++
				}
				if s.Failed {
					failed++
				}
			}
			if roots != want.traces || failed != want.failed {
				t.Errorf("%d roots and %d failed spans, want %+v", roots, failed, want)
			}
		})
	}
}

func TestTracer_BoundsChangesWithoutOutcome(t *testing.T) {
	tracer := newTracer(t, otlptest.Start(t).URL, slog.New(slog.DiscardHandler))
	for n := range uint64(100) {
		apply(tracer, history.Change{Document: n, Attempts: 1, Outcome: history.OutcomeFailed})
		tracer.Applying(t.Context(), "edge", sdk.Document{Generation: 99}, time.Time{}) // the sink had nothing to do
	}
	if open := len(tracer.changes.open["edge"]); open > maxOpen {
		t.Errorf("%d open changes", open)
	}
}

func TestTracer_Disabled(t *testing.T) {
	tracer := New("", slog.New(slog.DiscardHandler))
	if err := tracer.Configure(t.Context(), config.Tracing{Endpoint: "http://localhost:1", Sample: 1}); err != nil {
		t.Error(err)
	}
	if parent := apply(tracer, history.Change{Document: 1, Outcome: history.OutcomeApplied}); parent != "" {
		t.Errorf("trace parent %q", parent)
	}
	closeTracer(t, tracer)
}

func TestTracer_Sample(t *testing.T) {
	collector := otlptest.Start(t)
	tracer := newTracer(t, collector.URL, slog.New(slog.DiscardHandler))
	if err := tracer.Configure(t.Context(), config.Tracing{Enabled: true, Endpoint: collector.URL}); err != nil {
		t.Fatal(err)
	}
	if parent := apply(tracer, history.Change{Document: 1, Outcome: history.OutcomeApplied}); !strings.HasSuffix(parent, "-00") {
		t.Errorf("trace parent %q", parent)
	}
	closeTracer(t, tracer)
	if n := collector.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestTracer_ConfigureSendsToTheNewCollector(t *testing.T) {
	first, second := otlptest.Start(t), otlptest.Start(t)
	tracer := newTracer(t, first.URL, slog.New(slog.DiscardHandler))
	apply(tracer, history.Change{Document: 1, Attempts: 1, Outcome: history.OutcomeApplied})
	if err := tracer.Configure(t.Context(), config.Tracing{Enabled: true, Endpoint: second.URL, Sample: 1}); err != nil {
		t.Fatal(err)
	}
	apply(tracer, history.Change{Document: 2, Attempts: 1, Outcome: history.OutcomeApplied})
	if err := tracer.Configure(t.Context(), config.Tracing{}); err != nil {
		t.Fatal(err)
	}
	apply(tracer, history.Change{Document: 3, Attempts: 1, Outcome: history.OutcomeApplied})
	closeTracer(t, tracer)
	if a, b := len(first.Spans()), len(second.Spans()); a != 5 || b != 5 {
		t.Errorf("%d and %d spans", a, b)
	}
}

func TestTracer_EndpointFromTheEnvironment(t *testing.T) {
	collector := otlptest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	tracer := newTracer(t, "", slog.New(slog.DiscardHandler))
	apply(tracer, history.Change{Document: 1, Attempts: 1, Outcome: history.OutcomeApplied})
	closeTracer(t, tracer)
	if len(collector.Spans()) == 0 {
		t.Error("no spans")
	}
}

func TestTracer_LogsACollectorThatRejectsOnce(t *testing.T) {
	collector := otlptest.Start(t)
	var out bytes.Buffer
	tracer := newTracer(t, collector.URL, slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	send := func(status int) {
		t.Helper()
		collector.SetStatus(status)
		apply(tracer, history.Change{Document: 1, Attempts: 1, Outcome: history.OutcomeApplied})
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		send(http.StatusForbidden)
		send(http.StatusNotFound)
	}
	for range 3 {
		send(http.StatusOK)
	}
	closeTracer(t, tracer)
	if lines := strings.Count(out.String(), "\n"); lines != 2 || strings.Count(out.String(), "level=WARN") != 1 {
		t.Errorf("log:\n%s", &out)
	}
}

// TestTracer_CollectorHangs also shows that nothing waits for the collector: the queue is much shorter than the changes.
func TestTracer_CollectorHangs(t *testing.T) {
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	defer server.Close()
	defer close(hung)
	tracer := newTracer(t, server.URL, slog.New(slog.DiscardHandler))
	for n := range uint64(5000) {
		apply(tracer, history.Change{Document: n, Attempts: 1, Outcome: history.OutcomeApplied})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := tracer.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
}
