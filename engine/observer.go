package engine

import (
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Observer is notified of events, from several goroutines. Its methods must not block.
type Observer interface {
	SnapshotReceived(snap sdk.Snapshot, held bool)
	Rendered(pipeline string, took time.Duration, err error)
	TemplateRefused(pipeline string) // once for each version that does not load or render, or that the sink rejects
	Applied(Attempt)
	Changed(pipeline string, c history.Change) // an entry of the history was added or updated
	StatusChanged(pipeline string)             // what Status returns for it may have changed; called often
}

// Observers passes everything that it observes to each of its elements, in order.
type Observers []Observer

// SnapshotReceived implements [Observer].
func (all Observers) SnapshotReceived(snap sdk.Snapshot, held bool) {
	for _, o := range all {
		o.SnapshotReceived(snap, held)
	}
}

// TemplateRefused implements [Observer].
func (all Observers) TemplateRefused(pipeline string) {
	for _, o := range all {
		o.TemplateRefused(pipeline)
	}
}

// Rendered implements [Observer].
func (all Observers) Rendered(pipeline string, took time.Duration, err error) {
	for _, o := range all {
		o.Rendered(pipeline, took, err)
	}
}

// Applied implements [Observer].
func (all Observers) Applied(a Attempt) {
	for _, o := range all {
		o.Applied(a)
	}
}

// Changed implements [Observer].
func (all Observers) Changed(pipeline string, c history.Change) {
	for _, o := range all {
		o.Changed(pipeline, c)
	}
}

// StatusChanged implements [Observer].
func (all Observers) StatusChanged(pipeline string) {
	for _, o := range all {
		o.StatusChanged(pipeline)
	}
}

// NoObserver ignores everything. An [Observer] that needs only some of the methods embeds it.
type NoObserver struct{}

// SnapshotReceived implements [Observer].
func (NoObserver) SnapshotReceived(sdk.Snapshot, bool) {}

// TemplateRefused implements [Observer].
func (NoObserver) TemplateRefused(string) {}

// Rendered implements [Observer].
func (NoObserver) Rendered(string, time.Duration, error) {}

// Applied implements [Observer].
func (NoObserver) Applied(Attempt) {}

// Changed implements [Observer].
func (NoObserver) Changed(string, history.Change) {}

// StatusChanged implements [Observer].
func (NoObserver) StatusChanged(string) {}

var (
	_ Observer = Observers(nil)
	_ Observer = NoObserver{}
)
