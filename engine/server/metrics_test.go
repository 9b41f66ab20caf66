package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// metricContract lists the metrics that dashboards and alerts rely on, with their labels in alphabetical order.
var metricContract = map[string]string{
	"haproxy_api_snapshots_total":                        "outcome,source",
	"haproxy_api_applies_total":                          "action,outcome,pipeline",
	"haproxy_api_apply_seconds":                          "action,pipeline",
	"haproxy_api_render_seconds":                         "pipeline",
	"haproxy_api_convergence_seconds":                    "pipeline",
	"haproxy_api_instances":                              "source,status",
	"haproxy_api_quarantined":                            "source",
	"haproxy_api_held":                                   "pipeline",
	"haproxy_api_template_errors_total":                  "pipeline",
	"haproxy_api_plugin_restarts_total":                  "plugin",
	"haproxy_api_generation":                             "pipeline",
	"haproxy_api_build_info":                             "version",
	"haproxy_api_config_last_reload_successful":          "",
	"haproxy_api_haproxy_up":                             "pipeline",
	"haproxy_api_haproxy_restarts_total":                 "pipeline",
	"haproxy_api_haproxy_old_workers":                    "pipeline",
	"haproxy_api_source_up":                              "source",
	"haproxy_api_source_last_snapshot_timestamp_seconds": "source",
	"haproxy_api_template_accepted":                      "pipeline",
	"haproxy_api_excluded_instances":                     "pipeline",
	"haproxy_api_pipeline_in_sync":                       "pipeline",
	"haproxy_api_last_success_timestamp_seconds":         "pipeline",
	"haproxy_api_drift_repairs_total":                    "pipeline",
	"haproxy_api_persist_pending":                        "pipeline",
}

// haproxyFacts are what the HAProxy sink reports for metrics.
var haproxyFacts = map[string]string{
	"haproxy_up": "1", "haproxy_restarts": "3", "old_workers_count": "2", "drift_repairs": "4", "persist_pending": "0",
}

// newMeasuredServer returns a server whose metrics have all series.
func newMeasuredServer(t *testing.T) *testServer {
	t.Helper()
	s := newTestServer(t, true)
	s.sink.setFacts(haproxyFacts)
	s.emit()
	for range 1000 { // the engine records the outcome a moment after Apply returns
		if len(gather(t, s.cfg.Metrics)) >= len(metricContract) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return s
}

func (p *testSink) setFacts(facts map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.facts = facts
}

// gather returns the daemon's own metrics by their names.
func gather(t testing.TB, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]*dto.MetricFamily{}
	for _, family := range all {
		if strings.HasPrefix(family.GetName(), "haproxy_api_") {
			own[family.GetName()] = family
		}
	}
	return own
}

// labelsOf returns the names of the labels of a series.
func labelsOf(series *dto.Metric) string {
	var names []string
	for _, label := range series.GetLabel() {
		names = append(names, label.GetName())
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func TestMetrics_Contract(t *testing.T) {
	s := newMeasuredServer(t)
	found := map[string]string{}
	for name, family := range gather(t, s.cfg.Metrics) {
		found[name] = labelsOf(family.GetMetric()[0])
		for _, series := range family.GetMetric() {
			if got := labelsOf(series); got != found[name] {
				t.Errorf("%s has the labels %s and %s", name, got, found[name])
			}
			for _, label := range series.GetLabel() {
				if label.GetValue() == "" {
					t.Errorf("%s has an empty label %s", name, label.GetName())
				}
			}
		}
	}
	if diff := cmp.Diff(metricContract, found); diff != "" {
		t.Error(diff)
	}
}

// docs/metrics.md lists every metric with its type and its labels, and nothing else.
func TestMetrics_Documented(t *testing.T) {
	content, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(haproxy_api_\\w+)` \\| (\\w+) \\|\\s*(.*?)\\s*\\|").FindAllStringSubmatch(
		string(content), -1) {
		if _, twice := documented[row[1]]; twice {
			t.Errorf("%s is documented twice", row[1])
		}
		labels := strings.Split(strings.ReplaceAll(row[3], "`", ""), ", ")
		slices.Sort(labels)
		documented[row[1]] = row[2] + " " + strings.Join(labels, ",")
	}
	found := map[string]string{}
	for name, family := range gather(t, newMeasuredServer(t).cfg.Metrics) {
		found[name] = strings.ToLower(family.GetType().String()) + " " + labelsOf(family.GetMetric()[0])
	}
	if diff := cmp.Diff(found, documented); diff != "" {
		t.Error(diff)
	}
}

func TestMetrics_Lint(t *testing.T) {
	s := newMeasuredServer(t)
	problems, err := testutil.GatherAndLint(s.cfg.Metrics.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed: run scripts/install-deps test")
		}
		t.Skip("promtool is not installed: run scripts/install-deps test")
	}
	_, body := s.ask("GET", "/metrics")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body + "\n")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestMetrics_HistogramsAreNativeAndClassic(t *testing.T) {
	s := newMeasuredServer(t)
	var histograms int
	for name, family := range gather(t, s.cfg.Metrics) {
		for _, series := range family.GetMetric() {
			h := series.GetHistogram()
			if h == nil {
				continue
			}
			histograms++
			if len(h.GetBucket()) == 0 || h.Schema == nil || len(h.GetPositiveSpan()) == 0 {
				t.Errorf("%s: %d classic buckets, schema %v", name, len(h.GetBucket()), h.Schema)
			}
		}
	}
	if histograms < 3 {
		t.Errorf("%d histograms", histograms)
	}
	// Prometheus asks for the protocol buffer form if it scrapes native histograms.
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Host = "localhost:7778"
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	s.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); !strings.Contains(got, "io.prometheus.client.MetricFamily") {
		t.Errorf("the answer has the type %s", got)
	}
}

// Counters begin at 0, so that a rate sees the first event.
func TestMetrics_CountersBeginAtZero(t *testing.T) {
	m := newTestMetrics("p")
	got := scrape(m)
	for _, want := range []string{
		`haproxy_api_applies_total{action="reload",outcome="applied",pipeline="p"} 0`,
		`haproxy_api_applies_total{action="none",outcome="rejected",pipeline="p"} 0`,
		`haproxy_api_template_errors_total{pipeline="p"} 0`,
		`haproxy_api_plugin_restarts_total{plugin="k"} 0`,
		`haproxy_api_snapshots_total{outcome="held",source="s"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestMetrics_Outcomes(t *testing.T) {
	m := newTestMetrics("p")
	for _, err := range []error{
		nil, sdk.Deferred("too early", time.Second), sdk.Rejectf("no"), sdk.NotLoaded(errors.New("no")), errors.New("no"),
	} {
		m.Applied(engine.Attempt{Pipeline: "p", Result: sdk.Result{Action: sdk.ActionReload}, Err: err})
	}
	got := scrape(m)
	for _, labels := range []string{
		`action="reload",outcome="applied"`, `action="none",outcome="deferred"`, `action="none",outcome="rejected"`,
		`action="none",outcome="not_loaded"`, `action="none",outcome="failed"`,
	} {
		if want := "haproxy_api_applies_total{" + labels + `,pipeline="p"} 1`; !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// newTestMetrics returns metrics of pipelines, source "s" and sink "k".
func newTestMetrics(pipelines ...string) *Metrics {
	m := NewMetrics("v1")
	m.SetComponents(Components{Pipelines: pipelines, Sources: []string{"s"}, Plugins: []string{"k"}})
	return m
}

func scrape(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// observe records an observation of every metric of the pipeline, the source and the plugin.
func observe(m *Metrics, pipeline, source, plugin string) {
	m.SnapshotReceived(sdk.Snapshot{Source: source}, false)
	m.SnapshotReceived(sdk.Snapshot{Source: source}, true)
	m.Rendered(pipeline, 1, nil)
	m.TemplateRefused(pipeline)
	m.Applied(engine.Attempt{
		Pipeline: pipeline, Trigger: history.Trigger{Kind: history.TriggerPush}, Result: sdk.Result{Action: sdk.ActionReload},
	})
	m.PluginRestarted(plugin)
}

// Observations of components that were removed are ignored, also if they are late.
func TestMetrics_RemovedComponentsHaveNoSeries(t *testing.T) {
	m := newTestMetrics("p")
	observe(m, "p", "s", "k")
	for _, name := range []string{"p", "s", "k"} {
		if label := fmt.Sprintf("=%q", name); !strings.Contains(scrape(m), label) {
			t.Fatalf("no metrics of %s", name)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				observe(m, "p", "s", "k")
			}
		})
	}
	m.SetComponents(Components{})
	wg.Wait()
	for _, name := range []string{"p", "s", "k"} {
		if label := fmt.Sprintf("=%q", name); strings.Contains(scrape(m), label) {
			t.Errorf("metrics of %s remain:\n%s", name, scrape(m))
		}
	}
}

func TestMetrics_RemovedSinkKeepsSourceOfTheSameName(t *testing.T) {
	m := NewMetrics("v1")
	m.SetComponents(Components{Sources: []string{"x"}, Plugins: []string{"x"}})
	m.PluginRestarted("x")
	m.SetComponents(Components{Sources: []string{"x"}, Plugins: []string{"x"}})
	if got := scrape(m); !strings.Contains(got, `haproxy_api_plugin_restarts_total{plugin="x"} 1`) {
		t.Errorf("got\n%s", got)
	}
}

func countSeries(t testing.TB, m *Metrics) int {
	t.Helper()
	n := 0
	for _, family := range gather(t, m) {
		n += len(family.GetMetric())
	}
	return n
}

func TestMetrics_CardinalityIsBounded(t *testing.T) {
	s := newMeasuredServer(t)
	m := s.cfg.Metrics
	before := countSeries(t, m)

	for round := range 1000 { // each service is gone with the next snapshot
		var instances []sdk.Instance
		for n := range 10 {
			name := fmt.Sprintf("service-%d", round)
			instances = append(instances, sdk.Instance{ID: fmt.Sprint(n), Name: name, Hostname: "h", Status: sdk.Status(n)})
		}
		s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Services: sdk.GroupByName(instances)}
	}
	for round := range 1000 {
		pipeline, source, plugin := fmt.Sprint("p", round), fmt.Sprint("s", round), fmt.Sprint("k", round)
		m.SetComponents(Components{
			Pipelines: []string{"haproxy", pipeline}, Sources: []string{"sidecar", source}, Plugins: []string{"haproxy", plugin},
		})
		observe(m, pipeline, source, plugin)
	}
	m.SetComponents(Components{Pipelines: []string{"haproxy"}, Sources: []string{"sidecar"}, Plugins: []string{"haproxy"}})
	for n := range 1000 { // a plugin may report anything
		invented := sdk.Result{Action: fmt.Sprint("invented ", n)}
		m.Applied(engine.Attempt{Pipeline: "haproxy", Result: invented})
		m.Applied(engine.Attempt{Pipeline: "haproxy", Result: invented, Err: errors.New("no")})
		s.sink.setFacts(map[string]string{fmt.Sprint("invented ", n): "1", "haproxy_up": "1"})
	}
	s.sink.setFacts(haproxyFacts)
	after := countSeries(t, m)
	// action="other", for applies_total and for apply_seconds, and apply_seconds of action="none"
	if after > before+3 {
		t.Errorf("%d series became %d", before, after)
	}
	if got := scrape(m); strings.Contains(got, "invented") || strings.Contains(got, "service-") {
		t.Errorf("got\n%s", got)
	}
}

// 10,000 instances have as many series as one.
func TestMetrics_ManyInstances(t *testing.T) {
	s := newMeasuredServer(t)
	before := countSeries(t, s.cfg.Metrics)
	s.source.snapshots <- manyInstances(10_000)
	s.waitForMetric(t, `haproxy_api_instances{source="sidecar",status="Alive"} 10000`)
	if after := countSeries(t, s.cfg.Metrics); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func manyInstances(n int) sdk.Snapshot {
	var instances []sdk.Instance
	for i := range n {
		name := fmt.Sprintf("service-%d", i/10)
		instances = append(instances, sdk.Instance{
			ID: fmt.Sprint(i), Name: name, Hostname: fmt.Sprint("host-", i%100), Status: sdk.Alive, ProxyMode: "http",
			Ports: []sdk.Port{{Type: "tcp", Port: 8080, ServicePort: int64(10000 + i/10), IP: "127.0.0.1"}},
		})
	}
	return sdk.Snapshot{Source: "sidecar", Taken: time.Now(), Services: sdk.GroupByName(instances)}
}

// waitForMetric waits until the metrics have that line.
func (s *testServer) waitForMetric(t testing.TB, want string) {
	t.Helper()
	var body string
	for range 1000 {
		if _, body = s.ask("GET", "/metrics"); strings.Contains(body+"\n", want+"\n") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	name, _, _ := strings.Cut(want, "{")
	t.Fatalf("no %s in\n%s", want, strings.Join(regexp.MustCompile("(?m)^"+name+".*$").FindAllString(body, -1), "\n"))
}

// An unknown status counts as a tombstone, as in templates.
func TestMetrics_UnknownStatusesCountAsTombstone(t *testing.T) {
	s := newMeasuredServer(t)
	web := []sdk.Instance{
		{ID: "1", Name: "web", Hostname: "h", Status: 57}, {ID: "2", Name: "web", Hostname: "h", Status: 58},
		{ID: "3", Name: "web", Hostname: "h", Status: sdk.Tombstone}, {ID: "4", Name: "web", Hostname: "h"},
	}
	s.source.snapshots <- sdk.Snapshot{Source: "sidecar", Services: sdk.GroupByName(web)}
	s.waitForMetric(t, `haproxy_api_instances{source="sidecar",status="Tombstone"} 3`)
}

func BenchmarkScrape(b *testing.B) {
	s := newTestServer(b, true)
	s.sink.setFacts(haproxyFacts)
	s.source.snapshots <- manyInstances(10_000)
	<-s.sink.applied
	s.waitForMetric(b, `haproxy_api_instances{source="sidecar",status="Alive"} 10000`)
	b.ReportAllocs()
	for b.Loop() {
		if code, _ := s.ask("GET", "/metrics"); code != http.StatusOK {
			b.Fatal(code)
		}
	}
}
