package e2e_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/otlptest"
)

// traces returns the spans of each trace by the action in its root span. Traces whose root span has not arrived are left out.
func traces(spans []otlptest.Span) map[string][][]otlptest.Span {
	byTrace := map[string][]otlptest.Span{}
	for _, s := range spans {
		byTrace[s.Trace] = append(byTrace[s.Trace], s)
	}
	byAction := map[string][][]otlptest.Span{}
	for _, all := range byTrace {
		if root := slices.IndexFunc(all, func(s otlptest.Span) bool { return s.Parent == "" }); root >= 0 {
			action := all[root].Attributes["haproxy_api.action"]
			byAction[action] = append(byAction[action], all)
		}
	}
	return byAction
}

// wantTrace checks the spans of one applied change.
func (env *testEnv) wantTrace(spans []otlptest.Span, steps ...string) {
	env.t.Helper()
	byID := map[string]otlptest.Span{}
	var edges []string
	for _, s := range spans {
		byID[s.ID] = s
	}
	for _, s := range spans {
		edges = append(edges, byID[s.Parent].Name+"/"+s.Name)
		parent, ok := byID[s.Parent]
		if ok && (s.Begin.Before(parent.Begin) || s.End.After(parent.End)) || s.End.Before(s.Begin) || ok != (s.Parent != "") {
			env.t.Errorf("span %s from %v to %v is not within %s", s.Name, s.Begin, s.End, parent.Name)
		}
		if s.IsClient != (s.Name == "apply") || s.Failed || s.Attributes["service.name"] != "haproxy-api" {
			env.t.Errorf("span %+v", s)
		}
		if a := s.Attributes; s.Parent == "" && (a["haproxy_api.pipeline"] != "haproxy" ||
			a["haproxy_api.outcome"] != "applied" || a["haproxy_api.generation"] == "" || a["haproxy_api.trigger"] != "push") {
			env.t.Errorf("root span %+v", s)
		}
	}
	for _, want := range append([]string{"/change", "change/wait", "change/render", "change/apply"}, steps...) {
		if n := countOf(edges, want); n != 1 {
			env.t.Errorf("%d spans %q in %q", n, want, edges)
		}
	}
	if n := len(slices.DeleteFunc(edges, func(e string) bool { return !strings.HasPrefix(e, "apply/") })); n == 0 {
		env.t.Error("no span of the plugin")
	}
}

func countOf(list []string, element string) (n int) {
	for _, e := range list {
		if e == element {
			n++
		}
	}
	return n
}

func TestTracing_FromPushToInEffect(t *testing.T) {
	t.Parallel()
	collector := otlptest.Start(t)
	env := newTestEnv(t, `reload_interval = "0s"`)
	env.env = append(os.Environ(), "HAPROXY_API_TRACING_ENABLED=true", "HAPROXY_API_TRACING_ENDPOINT="+collector.URL)
	env.start()
	env.eventually("the API answers", env.apiAnswers)
	env.startInstance("web", "a", 8000)
	env.waitAnswer(8000, "a")
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	var got map[string][][]otlptest.Span
	env.eventually("the traces have arrived", func() bool {
		got = traces(collector.Spans())
		return len(got["runtime"]) > 0
	})
	env.stop()
	got = traces(collector.Spans())
	if len(got["runtime"]) != 1 {
		t.Errorf("%d traces of one change at run time", len(got["runtime"]))
	}
	env.wantTrace(got["runtime"][0])
	if n := len(got["restart"]) + len(got["reload"]); n == 0 {
		t.Error("no trace of the first document")
	}
}

func TestTracing_DisabledMakesNoConnection(t *testing.T) {
	t.Parallel()
	collector := otlptest.Start(t)
	env := newTestEnv(t)
	env.env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	env.start()
	env.startInstance("web", "a", 8000)
	env.waitAnswer(8000, "a")
	env.stop()
	if n := collector.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestTracing_CollectorIsAwayAndReturns(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // a collector that accepts connections and never answers
	env := newTestEnv(t, `reload_interval = "0s"`)
	env.editConfig("[sidecar]", fmt.Sprintf("[tracing]\nenabled = true\nendpoint = \"http://%s\"\n[sidecar]", listener.Addr()))
	env.start()
	env.eventually("the API answers", env.apiAnswers)
	env.startInstance("web", "a", 8000)
	env.waitAnswer(8000, "a")
	collector := otlptest.Start(t)
	env.editConfig("http://"+listener.Addr().String(), collector.URL)
	env.waitReloaded("tracing changed")
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	env.eventually("a trace has arrived", func() bool { return len(traces(collector.Spans())["runtime"]) > 0 })
	env.editConfig("enabled = true", "enabled = false")
	env.eventually("tracing is disabled", func() bool { return strings.Count(env.log.String(), "tracing changed") == 2 })
	before := len(collector.Spans())
	env.startInstance("web", "c", 8000)
	env.waitAnswer(8000, "c")
	env.wantShutdown()
	if after := len(collector.Spans()); after != before {
		t.Errorf("%d spans, and %d afterwards", before, after)
	}
}
