// Package history keeps the last changes of each pipeline: what triggered each, which instances and lines changed, what the sink
// did and why, and how long each step took. It knows neither pipelines nor sinks.
package history

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Change is one entry in the history of a pipeline: a document that was passed to the sink, the same document again if the
// sink then did something, or an event that the sink reported. Its JSON form is that of the API and of the file in state_dir.
// Strings that can contain secrets are masked.
type Change struct {
	// Generation numbers the entries of a pipeline. It grows with each and survives restarts. A document has the Generation of
	// the entry that it first appeared in.
	Generation uint64 `json:"generation"`
	// Document is the generation of the document that this entry is about.
	Document uint64  `json:"document"`
	Digest   string  `json:"digest,omitempty"`
	Trigger  Trigger `json:"trigger"`

	Event    string    `json:"event,omitempty"`  // for what a sink reported: one of the Event constants of package sdk
	Outcome  string    `json:"outcome"`          // one of the Outcome constants
	Action   string    `json:"action,omitempty"` // one of the Action constants of package sdk; empty if the sink did nothing
	Reason   string    `json:"reason,omitempty"` // why that action, and not a smaller one
	Error    string    `json:"error,omitempty"`  // why the document is not applied; what the sink waits for, if it is deferred
	Received time.Time `json:"received"`         // when the trigger arrived
	Updated  time.Time `json:"updated"`          // when the outcome was last updated; when an event happened last
	Attempts int       `json:"attempts"`         // how often the sink was called; how often an event happened in a row
	Seconds  float64   `json:"seconds"`          // from Received to Updated

	Instances     []string `json:"instances,omitempty"`      // what changed, one line for each service; see Instances
	InstancesMore int      `json:"instances_more,omitempty"` // how many lines were dropped
	Excluded      []string `json:"excluded,omitempty"`       // what the document was rendered without, and why
	Notes         []string `json:"notes,omitempty"`          // of the template

	LinesAdded    int  `json:"lines_added"`
	LinesRemoved  int  `json:"lines_removed"`
	DiffTruncated bool `json:"diff_truncated,omitempty"` // the diff is longer than what is kept
	DiffDropped   bool `json:"diff_dropped,omitempty"`   // the diff is no longer kept

	Commands     []Command `json:"commands,omitempty"`
	CommandsMore int       `json:"commands_more,omitempty"` // how many were dropped
	Steps        []Step    `json:"steps,omitempty"`
	Details      []string  `json:"details,omitempty"` // further text of the sink, such as warnings
}

// A Trigger is what made a pipeline reconcile. A document that is deferred or retried keeps its first trigger.
type Trigger struct {
	Kind   string `json:"kind"`             // one of the Trigger constants
	Detail string `json:"detail,omitempty"` // such as the address of a push or the path of a template
}

// IsSnapshot reports whether the trigger is a snapshot that the source emitted.
func (t Trigger) IsSnapshot() bool {
	switch t.Kind {
	case TriggerPush, TriggerWatch, TriggerResync, TriggerSource:
		return true
	}
	return false
}

// The kinds of triggers.
const (
	TriggerPush    = "push"          // the source received a push; Detail is the client's address
	TriggerWatch   = "watch"         // the source follows a stream
	TriggerResync  = "resync"        // the source fetched the state
	TriggerSource  = "source"        // the source emitted a snapshot and does not say why
	TriggerRelease = "release"       // a held snapshot was released; Detail says by what
	TriggerSave    = "template"      // a template was saved; Detail is its path
	TriggerConfig  = "configuration" // the configuration was reloaded
	TriggerRequest = "request"       // a request for apply; Detail is the client's address
	TriggerStart   = "start"         // the daemon started
	TriggerRestart = "sink_restart"  // the plugin of the sink was restarted
	TriggerLost    = "lost"          // the sink lost the applied document
	TriggerInputs  = "watched_files" // watched files changed; Detail names one
	TriggerReread  = "reread"        // SIGHUP, for the files that the sink's program reads
	TriggerRetry   = "retry"         // something other than a document or a snapshot was due again
	TriggerSink    = "sink"          // the sink reported an event
)

// The outcomes of a change.
const (
	OutcomeApplied    = "applied"    // the document is in effect
	OutcomeDeferred   = "deferred"   // the sink waits, for example for reload_interval; it is applied later unless it is replaced
	OutcomeRejected   = "rejected"   // the sink does not accept the document
	OutcomeNotLoaded  = "not_loaded" // the document passed the check, and the program did not keep running with it
	OutcomeFailed     = "failed"     // the sink failed; the document is retried
	OutcomeSuperseded = "superseded" // a newer change replaced it before it was in effect
	OutcomeLost       = "lost"       // the document was in effect and no longer is
	OutcomeEvent      = "event"      // the sink reported an event
)

// A Command is what the sink sent to its program.
type Command struct {
	Sent   string `json:"sent"`
	Answer string `json:"answer,omitempty"`
}

// A Step is a part of a change. The steps of the daemon come first (wait, render), then those of the sink.
type Step struct {
	Name    string  `json:"name"`
	Start   float64 `json:"start"`   // seconds since Received
	Seconds float64 `json:"seconds"` // how long it took
}

// IsReload reports whether the sink's program loaded its configuration or was started.
func (c Change) IsReload() bool {
	switch c.Event {
	case sdk.EventRestarted, sdk.EventReloaded, sdk.EventForeignReload:
		return true
	}
	return c.Action == sdk.ActionReload || c.Action == sdk.ActionRestart
}

// summaryLines is how many lines of Instances a summary has.
const summaryLines = 10

// Summary returns c without its long parts: Commands, Steps, Details, Notes, Excluded, and all but the first lines of Instances.
// CommandsMore and InstancesMore include what it lacks.
func (c Change) Summary() Change {
	c.CommandsMore += len(c.Commands)
	c.Commands, c.Steps, c.Details, c.Notes, c.Excluded = nil, nil, nil, nil, nil
	if more := len(c.Instances) - summaryLines; more > 0 {
		c.Instances = slices.Clone(c.Instances[:summaryLines])
		c.InstancesMore += more
	}
	return c
}
