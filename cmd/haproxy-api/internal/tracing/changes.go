package tracing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

// maxOpen is how many changes of a pipeline can be open. A pipeline has one that is applied, and few that are pending.
const maxOpen = 16

// changes are the traces of the changes that have no outcome yet.
type changes struct {
	daemon, sink trace.Tracer

	mu   sync.Mutex
	open map[string][]*change // by pipeline, oldest first
}

// A change is the trace of one change.
type change struct {
	document uint64 // the generation of the document
	root     trace.Span
	received time.Time
	apply    trace.Span // of the current attempt; nil if it has an outcome
	began    time.Time  // when the current attempt began
}

func newChanges(provider trace.TracerProvider) *changes {
	const scope = "github.com/haproxy-api/haproxy-api"
	return &changes{
		daemon: provider.Tracer(scope + "/engine"), sink: provider.Tracer(scope + "/plugins/sdk"),
		open: map[string][]*change{},
	}
}

// applying begins the span of an Apply, and the trace if the document has none, and returns the span's trace context.
func (c *changes) applying(pipeline string, document uint64, received time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	open := c.take(pipeline, document)
	if open == nil || open.apply != nil { // an attempt without an outcome changed nothing, and its trace is dropped
		if received.IsZero() || received.After(now) {
			received = now
		}
		open = &change{document: document, received: received}
		_, open.root = c.daemon.Start(context.Background(), "change", trace.WithTimestamp(received))
	}
	open.began = now
	_, open.apply = c.daemon.Start(parent(open.root), "apply",
		trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindClient))
	c.open[pipeline] = append(c.open[pipeline], open)
	if all := c.open[pipeline]; len(all) > maxOpen {
		c.open[pipeline] = all[1:]
	}
	return traceParent(open.apply.SpanContext())
}

// take removes the open change of a document and returns it, or nil if there is none.
func (c *changes) take(pipeline string, document uint64) *change {
	for i, open := range c.open[pipeline] {
		if open.document == document {
			c.open[pipeline] = append(c.open[pipeline][:i:i], c.open[pipeline][i+1:]...)
			return open
		}
	}
	return nil
}

// changed ends the span of an Apply, and the trace if the outcome is final.
func (c *changes) changed(pipeline string, entry history.Change) {
	if entry.Outcome == history.OutcomeEvent || entry.Outcome == history.OutcomeLost {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	open := c.take(pipeline, entry.Document)
	if open == nil {
		return
	}
	if open.apply != nil {
		c.endApply(open, entry)
	}
	if entry.Outcome == history.OutcomeDeferred || entry.Outcome == history.OutcomeFailed { // it is applied again
		c.open[pipeline] = append(c.open[pipeline], open)
		return
	}
	open.root.SetAttributes(attributes(pipeline, entry)...)
	setStatus(open.root, entry)
	open.root.End(trace.WithTimestamp(later(entry.Updated, open.began)))
}

// endApply ends the span of the current attempt. It adds the spans of the steps.
func (c *changes) endApply(open *change, entry history.Change) {
	end := later(entry.Updated, open.began)
	at := func(seconds float64) time.Time {
		return entry.Received.Add(time.Duration(seconds * float64(time.Second)))
	}
	for _, step := range entry.Steps {
		if step.Name == "apply" { // of a sink without steps: the span of the Apply shows it
			continue
		}
		tracer, above := c.sink, open.apply
		start, stop := at(step.Start), at(step.Start+step.Seconds)
		if stop.Before(open.began) || !start.After(open.began) && isDaemonStep(step.Name) {
			if entry.Attempts > 1 {
				continue // the first attempt had it
			}
			tracer, above = c.daemon, open.root
		} else {
			start, stop = clamp(start, open.began, end), clamp(stop, open.began, end)
		}
		_, span := tracer.Start(parent(above), step.Name, trace.WithTimestamp(start))
		span.End(trace.WithTimestamp(stop))
	}
	open.apply.SetAttributes(
		attribute.String("haproxy_api.action", entry.Action), attribute.String("haproxy_api.outcome", entry.Outcome),
		attribute.Int("haproxy_api.attempt", entry.Attempts))
	setStatus(open.apply, entry)
	open.apply.End(trace.WithTimestamp(end))
	open.apply = nil
}

// isDaemonStep reports whether the daemon has a step of that name. A sink may have one too.
func isDaemonStep(name string) bool { return name == "wait" || name == "render" }

func attributes(pipeline string, entry history.Change) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("haproxy_api.pipeline", pipeline),
		attribute.Int64("haproxy_api.generation", int64(entry.Generation)), //nolint:gosec // a counter
		attribute.Int64("haproxy_api.document", int64(entry.Document)),     //nolint:gosec // a counter
		attribute.String("haproxy_api.trigger", entry.Trigger.Kind),
		attribute.String("haproxy_api.action", entry.Action),
		attribute.String("haproxy_api.outcome", entry.Outcome),
		attribute.Int("haproxy_api.attempts", entry.Attempts),
		attribute.Int("haproxy_api.lines_added", entry.LinesAdded),
		attribute.Int("haproxy_api.lines_removed", entry.LinesRemoved),
	}
	if entry.Reason != "" {
		all = append(all, attribute.String("haproxy_api.reason", entry.Reason))
	}
	return all
}

// setStatus sets the status of a span of a change that the sink could not apply.
func setStatus(span trace.Span, entry history.Change) {
	switch entry.Outcome {
	case history.OutcomeRejected, history.OutcomeNotLoaded, history.OutcomeFailed:
		span.SetStatus(codes.Error, entry.Error)
	}
}

// parent returns the context for a child of the span.
func parent(s trace.Span) context.Context { return trace.ContextWithSpan(context.Background(), s) }

// traceParent returns the value of W3C's header traceparent.
func traceParent(span trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", span.TraceID(), span.SpanID(), span.TraceFlags())
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// clamp returns the time from begin to end that is nearest to t.
func clamp(t, begin, end time.Time) time.Time {
	if t.After(end) {
		return end
	}
	return later(t, begin)
}
