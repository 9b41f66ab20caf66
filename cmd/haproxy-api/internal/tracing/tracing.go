// Package tracing sends a trace of each change of a pipeline to an OpenTelemetry collector, with OTLP over HTTP. It is the only
// package that imports OpenTelemetry.
//
// A trace begins when the trigger of a change arrives and ends when the document is in effect, rejected or superseded. Its root
// span has a child for each step of the daemon (wait, render) and for each Apply; an Apply has a child for each step of the sink.
package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// defaultEndpoint is where collectors listen on the same host.
	defaultEndpoint = "http://localhost:4318"
	// batchDelay is the longest time for which a span is kept before it is sent.
	batchDelay = time.Second
	// closeTimeout bounds sending the last spans of a provider that a configuration reload replaces.
	closeTimeout = 5 * time.Second
)

// A Tracer traces changes while tracing is enabled. It implements [engine.Tracer] and [engine.Observer]. Spans are sent in the
// background; they are dropped if the collector does not take them.
type Tracer struct {
	engine.NoObserver
	version string
	log     *slog.Logger

	mu       sync.Mutex
	provider *trace.TracerProvider // nil while tracing is disabled
	changes  *changes              // nil while tracing is disabled
	closing  sync.WaitGroup
}

// New returns a tracer that is disabled. version is that of the program.
func New(version string, log *slog.Logger) *Tracer {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Debug("OpenTelemetry reported an error", "error", err) }))
	return &Tracer{version: version, log: log}
}

// Configure enables, changes or disables tracing. Spans of the previous configuration are still sent to its collector. After an
// error, tracing is disabled.
func (t *Tracer) Configure(ctx context.Context, cfg config.Tracing) error {
	provider, err := t.newProvider(ctx, cfg)
	var next *changes
	if provider != nil {
		next = newChanges(provider)
	}
	t.mu.Lock()
	previous := t.provider
	t.provider, t.changes = provider, next
	t.mu.Unlock()
	if previous != nil {
		t.closing.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
			defer cancel()
			_ = previous.Shutdown(ctx) // the exporter logs its errors
		})
	}
	return err
}

// Close sends the spans of finished changes and disables tracing. It returns when ctx is done at the latest.
func (t *Tracer) Close(ctx context.Context) error {
	t.mu.Lock()
	provider := t.provider
	t.provider, t.changes = nil, nil
	t.mu.Unlock()
	if provider == nil {
		return nil
	}
	return provider.Shutdown(ctx)
}

// Applying implements [engine.Tracer].
func (t *Tracer) Applying(
	ctx context.Context, pipeline string, doc sdk.Document, received time.Time,
) context.Context {
	if c := t.current(); c != nil {
		return sdk.WithTraceParent(ctx, c.applying(pipeline, doc.Generation, received))
	}
	return ctx
}

// Changed ends the trace of a change that has its outcome.
func (t *Tracer) Changed(pipeline string, c history.Change) {
	if changes := t.current(); changes != nil {
		changes.changed(pipeline, c)
	}
}

func (t *Tracer) current() *changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes
}

// newProvider returns nil if tracing is disabled.
func (t *Tracer) newProvider(ctx context.Context, cfg config.Tracing) (*trace.TracerProvider, error) {
	if !cfg.Enabled {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, endpointOptions(cfg.Endpoint)...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	program, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", "haproxy-api"), attribute.String("service.version", t.version)),
		resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	return trace.NewTracerProvider(
		trace.WithResource(program),
		trace.WithSampler(trace.TraceIDRatioBased(cfg.Sample)),
		trace.WithBatcher(&loggingExporter{SpanExporter: exporter, log: t.log}, trace.WithBatchTimeout(batchDelay)),
	), nil
}

// endpointOptions returns the options for the endpoint in the configuration. If there is none, the exporter uses the standard
// environment variables.
func endpointOptions(endpoint string) []otlptracehttp.Option {
	fromEnv := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if endpoint == "" && fromEnv != "" {
		return nil
	}
	endpoint = strings.TrimSuffix(cmp.Or(endpoint, defaultEndpoint), "/")
	return []otlptracehttp.Option{otlptracehttp.WithEndpointURL(strings.TrimSuffix(endpoint, "/v1/traces") + "/v1/traces")}
}

var _ engine.Tracer = (*Tracer)(nil)
