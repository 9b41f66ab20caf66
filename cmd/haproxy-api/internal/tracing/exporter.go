package tracing

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// A loggingExporter logs when spans cannot be sent and when they can be sent again. It returns no error, because OpenTelemetry
// would log each.
type loggingExporter struct {
	trace.SpanExporter
	log   *slog.Logger
	fault logdedup.Fault
}

// ExportSpans implements [trace.SpanExporter].
func (e *loggingExporter) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil:
		e.fault.Resolve(e.log, "traces are sent again")
	case e.fault.Cause() == "": // the text of the error can be another one each time, such as the port of a connection
		e.fault.Warn(e.log, "sending traces failed; dropping them", err)
	}
	return nil
}
