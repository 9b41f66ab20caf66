package sdk

import "context"

type traceParentKey struct{}

// TraceParent returns the trace context of the change that a call belongs to, in the form of W3C's header traceparent. A sink
// that makes spans of its own uses it as their parent. It is empty while the daemon's tracing is disabled.
func TraceParent(ctx context.Context) string {
	parent, _ := ctx.Value(traceParentKey{}).(string)
	return parent
}

// WithTraceParent returns a context with that trace context. The daemon and package serve call it; plugins need not.
func WithTraceParent(ctx context.Context, parent string) context.Context {
	return context.WithValue(ctx, traceParentKey{}, parent)
}
