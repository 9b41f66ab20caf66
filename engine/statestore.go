package engine

import (
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A StateStore keeps the last good state over a restart of the daemon, so that it is available while a source is not. Its
// methods may be called from any goroutine. The Save methods do not block. A StateStore reports its own errors.
type StateStore interface {
	// Snapshot returns the snapshot that SaveSnapshot was last called with for that source, and false if there is none that
	// can be used.
	Snapshot(source string) (sdk.Snapshot, bool)
	// SaveSnapshot is called with every snapshot that a source passes to its pipelines.
	SaveSnapshot(source string, snap sdk.Snapshot)

	// AppliedDocument returns what SaveAppliedDocument was last called with for that pipeline, and false if there is nothing
	// that can be used.
	AppliedDocument(pipeline string) (AppliedDocument, bool)
	// SaveAppliedDocument is called with every document that the sink has applied, and with an empty one when the sink has
	// lost it.
	SaveAppliedDocument(pipeline string, doc AppliedDocument)

	// OpenHistory returns the history of that pipeline with what earlier runs put there. The caller closes it before the
	// next call for that pipeline.
	OpenHistory(pipeline string) *history.Log
}

// AppliedDocument is the document that is live in a sink.
type AppliedDocument struct {
	SinkType string
	Document sdk.Document
	Excluded []exclude.Exclusion `json:"LeftOut"` // what the document was rendered without; the key is that of format 1
}

type noStateStore struct{}

func (noStateStore) Snapshot(string) (sdk.Snapshot, bool)           { return sdk.Snapshot{}, false }
func (noStateStore) SaveSnapshot(string, sdk.Snapshot)              {}
func (noStateStore) AppliedDocument(string) (AppliedDocument, bool) { return AppliedDocument{}, false }
func (noStateStore) SaveAppliedDocument(string, AppliedDocument)    {}
func (noStateStore) OpenHistory(string) *history.Log                { return history.NewLog() }
