package wire

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// traceParent is the key of the metadata with the value of [sdk.TraceParent].
const traceParent = "traceparent"

// SendTraceParent returns a context whose calls carry the trace context of ctx, if it has one.
func SendTraceParent(ctx context.Context) context.Context {
	parent := sdk.TraceParent(ctx)
	if parent == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, traceParent, parent)
}

// ReceiveTraceParent returns a context with the trace context that came with a call, if there is one.
func ReceiveTraceParent(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, traceParent)
	if len(values) == 0 {
		return ctx
	}
	return sdk.WithTraceParent(ctx, values[0])
}
