package server

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/haproxy-api/haproxy-api/engine"
)

// scrapeWithin bounds the time that sinks have to answer a scrape. One that hangs is left out.
const scrapeWithin = time.Second

// haproxyMetrics are what HAProxy sinks report as facts of their health.
type haproxyMetrics struct {
	engine   atomic.Pointer[engine.Engine] // nil until the server is made
	restarts *prometheus.Desc
}

func newHAProxyMetrics() *haproxyMetrics {
	return &haproxyMetrics{restarts: prometheus.NewDesc("haproxy_api_haproxy_restarts_total",
		"How often HAProxy ended by itself and was started again.", []string{"pipeline"}, nil)}
}

// Describe implements [prometheus.Collector].
func (m *haproxyMetrics) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- m.restarts }

// Collect implements [prometheus.Collector]. It asks all sinks at once.
func (m *haproxyMetrics) Collect(metrics chan<- prometheus.Metric) {
	e := m.engine.Load()
	if e == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	for _, p := range e.Health(ctx) {
		if restarts, err := strconv.ParseUint(p.Facts["haproxy_restarts"], 10, 32); err == nil {
			metrics <- prometheus.MustNewConstMetric(m.restarts, prometheus.CounterValue, float64(restarts), p.Name)
		}
	}
}
