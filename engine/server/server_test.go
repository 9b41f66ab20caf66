package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSource emits the snapshots that it is given, and accepts any push.
type testSource struct{ snapshots chan sdk.Snapshot }

func (c *testSource) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case snap := <-c.snapshots:
			emit(snap)
		}
	}
}

func (c *testSource) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: []string{"etcd is away"}, Facts: map[string]string{"plugin": "etcd 1"}}, nil
}

func (c *testSource) ServeHTTP(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "pushed") }

// testSink returns the error and reports the problem that setFault sets.
type testSink struct {
	applied chan struct{}

	mu      sync.Mutex
	err     error
	problem string
	facts   map[string]string
	servers func(context.Context) ([]sdk.Server, error) // nil if it reports no servers
}

func (p *testSink) setFault(err error, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.problem = err, problem
}

func (p *testSink) Apply(context.Context, sdk.Document) (sdk.Result, error) {
	defer func() { p.applied <- struct{}{} }()
	p.mu.Lock()
	defer p.mu.Unlock()
	return sdk.Result{Action: sdk.ActionReload}, p.err
}

func (p *testSink) Health(context.Context) (sdk.Health, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.problem != "" {
		return sdk.Health{Problems: []string{p.problem}}, nil
	}
	return sdk.Health{Facts: maps.Clone(p.facts)}, nil
}

func (p *testSink) Servers(ctx context.Context) ([]sdk.Server, error) {
	p.mu.Lock()
	servers := p.servers
	p.mu.Unlock()
	if servers == nil {
		return nil, errors.ErrUnsupported
	}
	return servers(ctx)
}

func (p *testSink) setServers(servers func(context.Context) ([]sdk.Server, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = servers
}

type fixedTemplate struct{}

func (fixedTemplate) Load() (engine.Template, error) { return fixedTemplate{}, nil }
func (fixedTemplate) Watch(ctx context.Context, _ func(string)) error {
	<-ctx.Done()
	return nil
}
func (fixedTemplate) Render(context.Context, sdk.Snapshot) ([]sdk.File, []string, error) {
	return []sdk.File{{Name: "main", Content: []byte("text")}}, nil, nil
}

// testServer is a server with a running engine.
type testServer struct {
	*Server
	source *testSource
	sink   *testSink
}

func newTestServer(t testing.TB, takesPushes bool) *testServer {
	t.Helper()
	s := &testServer{
		source: &testSource{snapshots: make(chan sdk.Snapshot)},
		sink:   &testSink{applied: make(chan struct{}, 10)},
	}
	metrics, events, series := NewMetrics("v1"), NewEvents(), NewSeries()
	metrics.SetComponents(Components{Pipelines: []string{"haproxy"}, Sources: []string{"sidecar"}, Plugins: []string{"haproxy"}})
	e, err := engine.New(engine.Config{
		Sources: map[string]engine.SourceConfig{
			"sidecar": {Source: s.source, Guard: engine.Guard{MaxDrop: 1, Hold: time.Hour}},
		},
		Pipelines: []engine.PipelineConfig{{Name: "haproxy", Source: "sidecar", Templates: fixedTemplate{}, Sink: s.sink}},
		Log:       slog.New(slog.DiscardHandler), Observer: engine.Observers{metrics, events, series},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Engine: e, Metrics: metrics, Events: events, Series: series,
		Front: Front{Source: "sidecar"}, Log: slog.New(slog.DiscardHandler),
	}
	cfg.EncodeState = func(w io.Writer, snap sdk.Snapshot) error {
		_, err := fmt.Fprintf(w, `{"ClusterName":%q}`, snap.Cluster)
		return err
	}
	if takesPushes {
		cfg.Front.Receiver = s.source
	}
	s.Server = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// ask returns the code and the body of the answer to a request.
func (s *testServer) ask(method, path string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost:7778"
	s.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func (s *testServer) want(t *testing.T, method, path string, code int, body string) {
	t.Helper()
	gotCode, gotBody := s.ask(method, path)
	if gotCode != code || gotBody != body {
		t.Errorf("%s %s answered %d %s, want %d %s", method, path, gotCode, gotBody, code, body)
	}
}

var changed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (s *testServer) emit() {
	web := sdk.Instance{ID: "1", Name: "web", Hostname: "h"}
	s.source.snapshots <- sdk.Snapshot{
		Source: "sidecar", Cluster: "demo", Taken: time.Now(), Changed: changed, Services: sdk.GroupByName([]sdk.Instance{web}),
		Last: &sdk.Change{Instance: web},
	}
	<-s.sink.applied
}

func TestServer_BeforeTheFirstSnapshot(t *testing.T) {
	s := newTestServer(t, true)
	s.want(t, "GET", "/live", 200, `{"message":"alive"}`)
	s.want(t, "GET", "/ready", 503, `{"errors":["pipeline haproxy has not applied a configuration yet"]}`)
	for _, path := range []string{"/state", "/state.json", "/api/state.json"} {
		s.want(t, "GET", path, 500, `{"errors":["there is no state yet: nothing was received"]}`)
	}
}

func TestPush(t *testing.T) {
	s := newTestServer(t, true)
	for _, path := range []string{"/update", "/api/update", "/sidecar/update"} {
		s.want(t, "POST", path, 200, "pushed")
	}
	follower := newTestServer(t, false)
	follower.want(t, "POST", "/update", 409,
		`{"errors":["pushes are not accepted: the source of this haproxy-api does not receive them"]}`)
}

func TestHealth_HasTheFormOfVersion09(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	// The engine records the outcome a moment after Apply returns.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if code, _ := s.ask("GET", "/ready"); code == 200 || time.Now().After(deadline) {
			break
		}
	}
	s.want(t, "GET", "/ready", 200, `{"message":"ready"}`)
	s.want(t, "GET", "/state", 200, `{"ClusterName":"demo"}`)
	code, body := s.ask("GET", "/health")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	last, _ := got["last_service_changed"].(map[string]any)
	if code != 200 || got["message"] != "Healthy!" || got["last_changed"] != "2026-01-02T03:04:05Z" || last["Name"] != "web" {
		t.Errorf("got %d %s", code, body)
	}
	s.sink.setFault(nil, "HAProxy is not running")
	s.want(t, "GET", "/health", 500, `{"errors":["HAProxy is not running"]}`)
}

func TestHealth_FailedApply(t *testing.T) {
	s := newTestServer(t, true)
	s.sink.setFault(sdk.Rejectf("line 3 is wrong"), "")
	s.emit()
	want := `{"errors":["the last configuration could not be applied: line 3 is wrong"]}`
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if code, body := s.ask("GET", "/health"); code == 500 && body == want {
			return
		}
	}
	s.want(t, "GET", "/health", 500, want)
}

func TestPipelines_Status(t *testing.T) {
	s := newTestServer(t, true)
	s.sink.setFault(sdk.Rejectf("line 3 is wrong"), "HAProxy is not running")
	s.emit()
	// The history has the failed Apply before the health does.
	got := s.waitForPipeline(t, func(p Pipeline) bool { return p.Last != nil && len(p.Problems) == 2 })
	if got.Name != "haproxy" || got.Last.Error != "line 3 is wrong" || !slices.Contains(got.Problems, "HAProxy is not running") ||
		!slices.Equal(got.SourceProblems, []string{"etcd is away"}) || got.SourceFacts["plugin"] != "etcd 1" {
		t.Errorf("got %+v", got)
	}
	if code, body := s.ask("GET", "/api/v1/pipelines/haproxy"); code != 200 || !strings.Contains(body, `"source":"sidecar"`) {
		t.Errorf("one pipeline: %d %s", code, body)
	}
	s.want(t, "GET", "/api/v1/pipelines/x", 404, `{"errors":["there is no such pipeline; GET /api/v1/pipelines lists them"]}`)
}

// waitForPipeline waits until the status of the pipeline satisfies the condition.
func (s *testServer) waitForPipeline(t *testing.T, is func(Pipeline) bool) Pipeline {
	t.Helper()
	var got []Pipeline
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, body := s.ask("GET", "/api/v1/pipelines")
		got = nil
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if is(got[0]) {
			return got[0]
		}
	}
	t.Fatalf("timed out: %+v", got)
	return Pipeline{}
}

func TestPipelines_DeferredDocumentIsNoProblem(t *testing.T) {
	s := newTestServer(t, true)
	s.sink.setFault(sdk.Deferred("one reload in five seconds", time.Hour), "")
	s.emit()
	p := s.waitForPipeline(t, func(p Pipeline) bool { return p.Waiting != nil })
	if p.Waiting.Reason != "one reload in five seconds" || time.Until(p.Waiting.Until) < 59*time.Minute ||
		len(p.Problems) != 0 || p.Last.Error != "" || p.Last.Deferred != p.Waiting.Reason {
		t.Errorf("got %+v, last %+v", p, p.Last)
	}
	if code, body := s.ask("GET", "/health"); code != 200 {
		t.Errorf("health %d %s", code, body)
	}
	want := `haproxy_api_applies_total{action="none",outcome="deferred",pipeline="haproxy"} 1`
	if _, body := s.ask("GET", "/metrics"); !strings.Contains(body, want) {
		t.Errorf("no %s in\n%s", want, body)
	}
}

func TestPipelines_Exclusions(t *testing.T) {
	status := engine.PipelineStatus{
		Excluded: []exclude.Exclusion{
			{Service: "web", Hostname: "h", ID: "1", Reason: "bad"}, {Service: "chat", Reason: "worse"},
		},
		Last: &history.Change{Excluded: []string{"chat: worse"}},
	}
	got, err := json.Marshal(newPipeline(engine.PipelineHealth{PipelineStatus: status}, engine.SourceStatus{}))
	for _, want := range []string{
		`"excluded":[{"service":"web","instance":"1","hostname":"h","reason":"bad"},{"service":"chat","reason":"worse"}],`,
		`"excluded_count":2,`,
		`"excluded":["chat: worse"],"at"`,
	} {
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("no %s in %s, %v", want, got, err)
		}
	}
}

func TestMetrics_AreServed(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	for _, want := range []string{
		`haproxy_api_snapshots_total{outcome="taken",source="sidecar"} 1`,
		`haproxy_api_instances{source="sidecar",status="Alive"} 1`,
		`haproxy_api_build_info{version="v1"} 1`,
	} {
		if _, body := s.ask("GET", "/metrics"); !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}

func TestServe_EndsWithItsContext(t *testing.T) {
	s := newTestServer(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := Listen(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- s.Serve(ctx, listener) }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/live")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()

	_, err = Listen(ctx, listener.Addr().String())
	want := "cannot listen on " + listener.Addr().String() + ": bind: address already in use"
	if err == nil || err.Error() != want {
		t.Errorf("a port in use: got %v, want %s", err, want)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("an orderly shutdown returned %v", err)
	}
}

func TestServe_ReportsErrors(t *testing.T) {
	s := newTestServer(t, true)
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := s.Serve(t.Context(), listener); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v", err)
	}
}

func TestServer_UnknownRoutes(t *testing.T) {
	s := newTestServer(t, true)
	for _, path := range []string{"/nothing", "/update/x"} {
		if code, _ := s.ask("GET", path); code != 404 {
			t.Errorf("%s answered %d", path, code)
		}
	}
	if diff := cmp.Diff(405, func() int { code, _ := s.ask("POST", "/health"); return code }()); diff != "" {
		t.Errorf("POST /health (-want +got)\n%s", diff)
	}
}

// Text of HAProxy and plugins does not contain control characters for terminals.
func TestAnswers_EscapeControlCharacters(t *testing.T) {
	const hostile = "x\n\x1b[2J\u009b2J\x7f\u202e\u2028\xff\"}"
	w := httptest.NewRecorder()
	writeErrors(w, 500, hostile)
	want := `{"errors":["x\n\u001b[2J\u009b2J\u007f\u202e\u2028\ufffd\"}"]}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
