package server

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-api/haproxy-api/engine"
)

// scrapeTimeout bounds the time that sinks have to report their health for a scrape. The metrics of a hanging sink are missing.
const scrapeTimeout = time.Second

// haproxyMetrics collects the metrics that HAProxy sinks report as facts of their health.
type haproxyMetrics struct {
	engine   atomic.Pointer[engine.Engine] // nil until the server is created
	restarts *prometheus.Desc
}

func newHAProxyMetrics() *haproxyMetrics {
	return &haproxyMetrics{restarts: prometheus.NewDesc("haproxy_api_haproxy_restarts_total",
		"Restarts of HAProxy after it ended by itself.", []string{"pipeline"}, nil)}
}

// Describe implements [prometheus.Collector].
func (m *haproxyMetrics) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- m.restarts }

// Collect implements [prometheus.Collector]. It queries all sinks in parallel.
func (m *haproxyMetrics) Collect(metrics chan<- prometheus.Metric) {
	e := m.engine.Load()
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	for _, p := range e.Health(ctx) {
		if restarts, err := strconv.ParseUint(p.Facts["haproxy_restarts"], 10, 32); err == nil {
			metrics <- prometheus.MustNewConstMetric(m.restarts, prometheus.CounterValue, float64(restarts), p.Name)
		}
	}
}
