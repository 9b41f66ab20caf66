package server

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Metrics are the daemon's metrics for Prometheus. Counters and histograms record what it observes as an [engine.Observer]; a
// [statusCollector] reads gauges from the engine at each scrape. docs/metrics.md describes every metric.
type Metrics struct {
	engine.NoObserver
	registry *prometheus.Registry
	status   *statusCollector

	snapshots      *prometheus.CounterVec
	applies        *prometheus.CounterVec
	applySeconds   *prometheus.HistogramVec
	renderSeconds  *prometheus.HistogramVec
	convergence    *prometheus.HistogramVec
	templateErrors *prometheus.CounterVec
	pluginRestarts *prometheus.CounterVec
	reloaded       prometheus.Gauge

	mu         sync.RWMutex // held for writing while series are removed
	labeled    []labeledMetric
	components Components
}

// Components are the names of what the configuration has. Plugins are the sources and the sinks that run as plugins.
type Components struct{ Pipelines, Sources, Plugins []string }

// NewMetrics returns metrics without any observation. version is the label of haproxy_api_build_info. Observations of components
// are ignored until SetComponents names them.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), status: newStatusCollector()}
	m.snapshots = m.counter("haproxy_api_snapshots_total", "Snapshots that the source emitted.", "source", "outcome")
	m.renderSeconds = m.histogram("haproxy_api_render_seconds", "Time to render one snapshot.", "pipeline")
	m.templateErrors = m.counter("haproxy_api_template_errors_total",
		"Template versions that did not load or render, or that the sink refused. Each version counts once.", "pipeline")
	m.applies = m.counter("haproxy_api_applies_total", "Documents that were passed to the sink.", "pipeline", "action", "outcome")
	m.applySeconds = m.histogram("haproxy_api_apply_seconds", "Time that the sink took to apply a document.",
		"pipeline", "action")
	m.convergence = m.histogram("haproxy_api_convergence_seconds", "Time from the arrival of a snapshot until it was in effect.",
		"pipeline")
	m.pluginRestarts = m.counter("haproxy_api_plugin_restarts_total", "Restarts of a plugin that ended by itself.", "plugin")
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{Name: "haproxy_api_config_last_reload_successful",
		Help: "1 if the last configuration reload succeeded, 0 if it failed."})
	m.reloaded.Set(1)
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "haproxy_api_build_info", Help: "Always 1; the version is a label.",
		ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	m.registry.MustRegister(m.reloaded, build, m.status,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(m, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

// histogram returns a histogram with classic buckets, and with native ones for a Prometheus that scrapes those.
func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return register(m, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help,
		// From half a millisecond, for a runtime change, to a minute, for a slow reload.
		Buckets:                         prometheus.ExponentialBuckets(0.0005, 2, 18),
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels))
}

// A labeledMetric has a series for each combination of its labels' values.
type labeledMetric interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

// register registers metric and makes SetComponents remove series from it.
func register[M labeledMetric](m *Metrics, metric M) M {
	m.registry.MustRegister(metric)
	m.labeled = append(m.labeled, metric)
	return metric
}

// Handler returns a handler that serves the metrics. A metric that cannot be collected does not affect the others.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// SetComponents declares which components exist. Counters of new ones begin at 0. The series of others are removed, and later
// observations of them are ignored.
func (m *Metrics) SetComponents(next Components) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.components
	m.components = next
	m.removeLocked("pipeline", before.Pipelines, next.Pipelines)
	m.removeLocked("source", before.Sources, next.Sources)
	m.removeLocked("plugin", before.Plugins, next.Plugins)
	for _, name := range next.Pipelines {
		m.templateErrors.WithLabelValues(name)
		for _, action := range appliedActions {
			m.applies.WithLabelValues(name, action, history.OutcomeApplied)
		}
		for _, outcome := range failedOutcomes {
			m.applies.WithLabelValues(name, noAction, outcome)
		}
	}
	for _, name := range next.Sources {
		m.snapshots.WithLabelValues(name, snapshotTaken)
		m.snapshots.WithLabelValues(name, snapshotHeld)
	}
	for _, name := range next.Plugins {
		m.pluginRestarts.WithLabelValues(name)
	}
}

func (m *Metrics) removeLocked(label string, before, next []string) {
	for _, name := range before {
		if slices.Contains(next, name) {
			continue
		}
		for _, metric := range m.labeled {
			metric.DeletePartialMatch(prometheus.Labels{label: name})
		}
	}
}

// The values of the label outcome of haproxy_api_snapshots_total.
const (
	snapshotTaken = "taken"
	snapshotHeld  = "held"
)

// noAction is the value of the label action if the sink did nothing.
const noAction = "none"

// appliedActions are the actions of documents that were applied.
var appliedActions = []string{sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten}

// failedOutcomes are the outcomes of documents that were not applied.
var failedOutcomes = []string{
	history.OutcomeDeferred, history.OutcomeRejected, history.OutcomeNotLoaded, history.OutcomeFailed,
	history.OutcomeSuperseded,
}
