package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Metrics are the engine's metrics for Prometheus. It implements [engine.Observer].
type Metrics struct {
	registry *prometheus.Registry
	labeled  []labeledMetric // every metric with labels, for Forget

	snapshots      *prometheus.CounterVec
	instances      *prometheus.GaugeVec
	applies        *prometheus.CounterVec
	applySeconds   *prometheus.HistogramVec
	renderSeconds  *prometheus.HistogramVec
	convergence    *prometheus.HistogramVec
	templateErrors *prometheus.CounterVec
	generation     *prometheus.GaugeVec
	restarts       *prometheus.CounterVec
	held           *prometheus.GaugeVec
	reloaded       prometheus.Gauge
	quarantined    *prometheus.GaugeVec
	haproxy        *haproxyMetrics
}

// NewMetrics returns metrics without any observation. version is the label of haproxy_api_build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), haproxy: newHAProxyMetrics()}
	m.snapshots = m.counter("haproxy_api_snapshots_total", "Snapshots that a source emitted.", "source", "outcome")
	m.instances = m.gauge("haproxy_api_instances", "Instances in the newest snapshot.", "source", "status")
	m.quarantined = m.gauge("haproxy_api_quarantined", "Instances of the newest snapshot that are quarantined.", "source")
	m.held = m.gauge("haproxy_api_held", "1 while the newest snapshot is held.", "pipeline")
	m.renderSeconds = m.histogram("haproxy_api_render_seconds", "Time to render one snapshot.", "pipeline")
	m.templateErrors = m.counter("haproxy_api_template_errors_total", "Renders that failed.", "pipeline")
	m.applies = m.counter("haproxy_api_applies_total", "Applies of documents by a sink.", "pipeline", "action", "outcome")
	m.applySeconds = m.histogram("haproxy_api_apply_seconds", "Time that the sink took to apply a document.",
		"pipeline", "action")
	m.convergence = m.histogram("haproxy_api_convergence_seconds", "Time from the arrival of a snapshot until it is applied.",
		"pipeline")
	m.generation = m.gauge("haproxy_api_generation", "The generation that is applied.", "pipeline")
	m.restarts = m.counter("haproxy_api_plugin_restarts_total", "Restarts of plugins that ended.", "plugin")
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "haproxy_api_config_last_reload_successful",
		Help: "Whether the last configuration reload succeeded."})
	m.reloaded.Set(1)
	m.gauge("haproxy_api_build_info", "Always 1; the version is the label.", "version").WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.reloaded, m.haproxy,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(m, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(m, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	// From half a millisecond, for a runtime change, to a minute, for a slow reload.
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 18)
	return register(m, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

// A labeledMetric has a series for each combination of its labels' values.
type labeledMetric interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

// register registers metric and makes Forget remove series from it.
func register[M labeledMetric](m *Metrics, metric M) M {
	m.registry.MustRegister(metric)
	m.labeled = append(m.labeled, metric)
	return metric
}

// Handler returns a handler that serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// SnapshotReceived counts a snapshot and, unless it is held, its instances.
func (m *Metrics) SnapshotReceived(snap sdk.Snapshot, held bool) {
	if held {
		m.snapshots.WithLabelValues(snap.Source, "held").Inc()
		return
	}
	m.snapshots.WithLabelValues(snap.Source, "taken").Inc()
	counts := map[string]int{}
	for _, status := range []sdk.Status{sdk.Alive, sdk.Tombstone, sdk.Unhealthy, sdk.Unknown, sdk.Draining} {
		counts[status.Name()] = 0
	}
	for _, service := range snap.Services {
		for _, instance := range service.Instances {
			counts[instance.Status.Name()]++
		}
	}
	for status, count := range counts {
		m.instances.WithLabelValues(snap.Source, status).Set(float64(count))
	}
}

// Held records whether the newest snapshot of the pipeline is held.
func (m *Metrics) Held(pipeline string, held bool) {
	m.held.WithLabelValues(pipeline).Set(number(held))
}

// ConfigReloaded records whether the last configuration reload succeeded.
func (m *Metrics) ConfigReloaded(ok bool) { m.reloaded.Set(number(ok)) }

// Forget removes the metrics of a pipeline, a sink or a source that was removed from the configuration. kind is "pipeline",
// "sink" or "source".
func (m *Metrics) Forget(kind, name string) {
	label := kind
	if kind == "sink" {
		label = "plugin"
	}
	for _, vec := range m.labeled {
		vec.DeletePartialMatch(prometheus.Labels{label: name})
	}
	if kind == "source" {
		m.restarts.DeletePartialMatch(prometheus.Labels{"plugin": name})
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Quarantined records how many instances of the newest snapshot are quarantined.
func (m *Metrics) Quarantined(source string, instances int) {
	m.quarantined.WithLabelValues(source).Set(float64(instances))
}

// Rendered records one render.
func (m *Metrics) Rendered(pipeline string, took time.Duration, err error) {
	m.renderSeconds.WithLabelValues(pipeline).Observe(took.Seconds())
	if err != nil {
		m.templateErrors.WithLabelValues(pipeline).Inc()
	}
}

// Applied records one Apply of a sink.
func (m *Metrics) Applied(e engine.Entry) {
	action := history.KnownAction(e.Result.Action)
	m.applies.WithLabelValues(e.Pipeline, action, outcome(e.Err)).Inc()
	m.applySeconds.WithLabelValues(e.Pipeline, action).Observe(e.Took.Seconds())
	if e.Err == nil {
		m.generation.WithLabelValues(e.Pipeline).Set(float64(e.Generation))
	}
	if e.Err == nil && e.Trigger.IsSnapshot() {
		m.convergence.WithLabelValues(e.Pipeline).Observe(time.Since(e.Received).Seconds())
	}
}

// Changed implements [engine.Observer].
func (m *Metrics) Changed(string, history.Change) {}

// StatusChanged implements [engine.Observer].
func (m *Metrics) StatusChanged(string) {}

func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, sdk.ErrDeferred):
		return "deferred"
	default:
		return "failed"
	}
}

// PluginRestarted counts a restart of a plugin. name is that of the sink or the source in the configuration.
func (m *Metrics) PluginRestarted(name string) { m.restarts.WithLabelValues(name).Inc() }

var _ engine.Observer = (*Metrics)(nil)
