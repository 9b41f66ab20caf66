package engine

import "github.com/haproxy-api/haproxy-api/plugins/sdk"

// A Memory outlives the daemon: what was last good is there after a restart, also while the catalogue is away. Its methods may be
// called from any goroutine. Those that keep do not block; what cannot be kept or read is its own to report.
type Memory interface {
	// Snapshot returns what [Memory.KeepSnapshot] was last given for that source, and false where that is nothing of use.
	Snapshot(source string) (sdk.Snapshot, bool)
	// KeepSnapshot is told of every snapshot that goes to the pipelines.
	KeepSnapshot(source string, snap sdk.Snapshot)

	// InEffect returns what [Memory.KeepInEffect] was last given for that pipeline, and false where that is nothing of use.
	InEffect(pipeline string) (InEffect, bool)
	// KeepInEffect is told of every document that the sink made live.
	KeepInEffect(pipeline string, e InEffect)
}

// InEffect is a document that is in effect in a sink of that type, and who was left out for it.
type InEffect struct {
	SinkType string
	Document sdk.Document
	LeftOut  []LeftOut
}

// forgetful is the memory of an engine without one.
type forgetful struct{}

func (forgetful) Snapshot(string) (sdk.Snapshot, bool) { return sdk.Snapshot{}, false }
func (forgetful) KeepSnapshot(string, sdk.Snapshot)    {}
func (forgetful) InEffect(string) (InEffect, bool)     { return InEffect{}, false }
func (forgetful) KeepInEffect(string, InEffect)        {}
