package server

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-api/haproxy-api/engine"
)

// scrapeTimeout bounds the time that sinks and sources have to report their health for a scrape. What a sink that does not answer
// would report is missing; its pipeline's other metrics are there.
const scrapeTimeout = 2 * time.Second

// A statusCollector reads the state of all pipelines and sources from the engine, once for each scrape. What the engine no longer
// runs has no metrics.
type statusCollector struct {
	engine    atomic.Pointer[engine.Engine] // nil until the server is created
	pipelines []pipelineMetric
	sources   []sourceMetric
	instances *prometheus.Desc
}

// A pipelineMetric is a metric of a pipeline. value returns false if the pipeline does not have it.
type pipelineMetric struct {
	*prometheus.Desc
	kind  prometheus.ValueType
	value func(e *engine.Engine, p *engine.PipelineHealth) (float64, bool)
}

// A sourceMetric is a gauge of a source. value returns false if the source does not have it.
type sourceMetric struct {
	*prometheus.Desc
	value func(s *engine.SourceStatus) (float64, bool)
}

func newStatusCollector() *statusCollector {
	c := &statusCollector{instances: prometheus.NewDesc("haproxy_api_instances",
		"Instances in the snapshot in use, by their status.", []string{"source", "status"}, nil)}
	c.addPipelineMetrics()
	c.addSourceMetrics()
	return c
}

func (c *statusCollector) addPipelineMetrics() {
	add := func(
		kind prometheus.ValueType, name, help string, value func(*engine.Engine, *engine.PipelineHealth) (float64, bool),
	) {
		desc := prometheus.NewDesc(name, help, []string{"pipeline"}, nil)
		c.pipelines = append(c.pipelines, pipelineMetric{desc, kind, value})
	}
	gauge := func(name, help string, value func(*engine.PipelineHealth) float64) {
		add(prometheus.GaugeValue, name, help, func(_ *engine.Engine, p *engine.PipelineHealth) (float64, bool) {
			return value(p), true
		})
	}
	fact := func(kind prometheus.ValueType, name, help, fact string, highest uint64) {
		add(kind, name, help, func(_ *engine.Engine, p *engine.PipelineHealth) (float64, bool) {
			return factValue(p.Facts[fact], highest)
		})
	}
	const flag, count = 1, 1<<53 - 1 // the highest values; a float64 has all whole numbers up to 1<<53
	gauge("haproxy_api_generation", "The generation of the document that is in effect; 0 for none.",
		func(p *engine.PipelineHealth) float64 { return float64(p.Generation) })
	gauge("haproxy_api_pipeline_in_sync", "1 if the sink has the document of the snapshot in use, otherwise 0.",
		func(p *engine.PipelineHealth) float64 { return number(p.InSync) })
	gauge("haproxy_api_template_accepted", "0 while the newest template version is not used because it was refused, otherwise 1.",
		func(p *engine.PipelineHealth) float64 { return number(templateAccepted(p.PipelineStatus)) })
	gauge("haproxy_api_held", "1 while the last snapshot of the source is held, otherwise 0.",
		func(p *engine.PipelineHealth) float64 { return number(p.Held != nil) })
	add(prometheus.GaugeValue, "haproxy_api_excluded_instances", "Instances that the document in effect was rendered without.",
		func(e *engine.Engine, p *engine.PipelineHealth) (float64, bool) {
			return float64(excludedInstances(e, p.PipelineStatus)), true
		})
	add(prometheus.GaugeValue, "haproxy_api_last_success_timestamp_seconds",
		"When the pipeline last found or brought its sink in sync.",
		func(_ *engine.Engine, p *engine.PipelineHealth) (float64, bool) { return timestamp(p.LastSuccess) })
	fact(prometheus.GaugeValue, "haproxy_api_haproxy_up", "1 if HAProxy runs and serves, otherwise 0.", "haproxy_up", flag)
	fact(prometheus.CounterValue, "haproxy_api_haproxy_restarts_total", "Restarts of HAProxy after it ended by itself.",
		"haproxy_restarts", count)
	fact(prometheus.GaugeValue, "haproxy_api_haproxy_old_workers",
		"Workers of HAProxy from before a reload that finish their connections.", "old_workers_count", count)
	fact(prometheus.CounterValue, "haproxy_api_drift_repairs_total",
		"Repairs of changes that others made to HAProxy or its files.", "drift_repairs", count)
	fact(prometheus.GaugeValue, "haproxy_api_persist_pending", "1 while what HAProxy runs is not on disk yet, otherwise 0.",
		"persist_pending", flag)
}

func (c *statusCollector) addSourceMetrics() {
	add := func(name, help string, value func(s *engine.SourceStatus) (float64, bool)) {
		c.sources = append(c.sources, sourceMetric{prometheus.NewDesc(name, help, []string{"source"}, nil), value})
	}
	add("haproxy_api_source_up", "1 if the source is watched and reports no problem, otherwise 0.",
		func(s *engine.SourceStatus) (float64, bool) { return number(s.Up), true })
	add("haproxy_api_source_last_snapshot_timestamp_seconds", "When the source emitted its last snapshot, also if it is held.",
		func(s *engine.SourceStatus) (float64, bool) { return timestamp(s.LastSnapshot) })
	add("haproxy_api_quarantined", "Instances of the last snapshot that are quarantined.",
		func(s *engine.SourceStatus) (float64, bool) { return float64(s.Quarantined), true })
}

// Describe implements [prometheus.Collector].
func (c *statusCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.instances
	for _, m := range c.pipelines {
		descriptions <- m.Desc
	}
	for _, m := range c.sources {
		descriptions <- m.Desc
	}
}

// Collect implements [prometheus.Collector].
func (c *statusCollector) Collect(metrics chan<- prometheus.Metric) {
	e := c.engine.Load()
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	sources, pipelines := healthOfAll(ctx, e)
	for i := range pipelines {
		for _, m := range c.pipelines {
			if value, ok := m.value(e, &pipelines[i]); ok {
				metrics <- prometheus.MustNewConstMetric(m.Desc, m.kind, value, pipelines[i].Name)
			}
		}
	}
	for i := range sources {
		s := &sources[i]
		for _, m := range c.sources {
			if value, ok := m.value(s); ok {
				metrics <- prometheus.MustNewConstMetric(m.Desc, prometheus.GaugeValue, value, s.Name)
			}
		}
		for status, count := range s.Instances {
			metrics <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, float64(count), s.Name, status)
		}
	}
}

// factValue returns the value of a fact, and false if the sink does not report it or reports something that is no whole number up
// to highest: a plugin may report anything.
func factValue(fact string, highest uint64) (float64, bool) {
	value, err := strconv.ParseUint(fact, 10, 64)
	return float64(value), err == nil && value <= highest
}

// timestamp returns t in seconds since 1970, and false for the zero time.
func timestamp(t time.Time) (float64, bool) { return float64(t.UnixMilli()) / 1000, !t.IsZero() }

func templateAccepted(status engine.PipelineStatus) bool {
	_, refused := errors.AsType[*engine.TemplateError](status.ApplyError)
	return status.TemplateError == nil && !refused
}

// excludedInstances returns the number of excluded instances. An excluded service counts with its instances in the newest
// snapshot.
func excludedInstances(e *engine.Engine, status engine.PipelineStatus) int {
	services := map[string]bool{}
	total := 0
	for _, exclusion := range status.Excluded {
		if exclusion.WholeService() {
			services[exclusion.Service] = true
		} else {
			total++
		}
	}
	if len(services) == 0 {
		return total
	}
	snap, _ := e.Snapshot(status.Source)
	for i := range snap.Services {
		if services[snap.Services[i].Name] {
			total += len(snap.Services[i].Instances)
		}
	}
	return total
}
