package engine

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Triggers are the events that make a pipeline reconcile: see [Entry].
const (
	TriggerSnapshot = "snapshot"
	TriggerTemplate = "template"
	TriggerRestart  = "sink restart"
	TriggerRetry    = "retry"
	TriggerRequest  = "request" // see [Engine.Apply]
	TriggerStart    = "start"
	TriggerConfig   = "configuration"
	TriggerLost     = "lost by the sink" // see [sdk.Notifier]
	TriggerInputs   = "watched files"    // see [Inputs]
	TriggerReread   = "reread"           // see [Engine.Reread]
)

// A pipeline keeps one sink in sync with one source. Its own goroutine receives triggers and calls reconcile for each. The other
// methods of this file and those of status.go and health.go may be called from any goroutine.
type pipeline struct {
	name      string
	source    *source
	templates Templates
	sink      sdk.Sink
	sinkType  string
	sinkName  string
	paths     []string                            // of the template files
	conflicts func([]sdk.File) []exclude.Conflict // nil for none
	watched   Inputs                              // nil for none
	log       *slog.Logger
	observer  Observer
	tracer    Tracer // nil for none

	snapshots    *mailbox[sdk.Snapshot]
	inputChanges *mailbox[map[string]string] // the watched files
	edited       signal                      // the template set changed
	requested    signal                      // see [Engine.Apply]
	rereads      signal                      // see [Engine.Reread]
	resumed      signal                      // the pipeline runs again after a stop
	restarted    <-chan struct{}             // nil for a sink that cannot be restarted
	lost         <-chan sdk.Lost             // nil for a sink that is no [sdk.Notifier]

	entries   *entries
	changes   *history.Log
	published atomic.Pointer[publishedStatus]
	running

	healthCalls healthCalls
	servers     serverCache

	state pipelineState // of the pipeline's goroutine
}

// pipelineState is what a pipeline knows about its templates and its sink. Only the pipeline's goroutine accesses it.
type pipelineState struct {
	trigger string // the current one

	active             *version // the template of the applied document
	candidate          *version // a newer one without an applied document
	previous           *version // what active replaced; it is active again if the sink loses active's first document
	candidateAbandoned bool     // the newest template is no longer the candidate, because each attempt costs too much

	applied    *rendered // the document that the sink applied last; nil for none
	inSync     bool      // the sink still has it; if not, the next document is applied even if it is the same
	pending    *pendingApply
	generation uint64 // of the newest document that was passed to the sink
	digest     string // of that document

	retries      *backoff.ExponentialBackOff // of the newest document
	loads        loadRetry
	applyTimeout time.Duration   // how long an Apply may take if something newer waits
	fault        *logdedup.Fault // the newest document cannot be applied
	inputs       inputState

	status PipelineStatus // to be published; see publish
}

// A version is one state of the template set, and what the sink said about its documents.
type version struct {
	template        Template
	firstGeneration uint64 // of its first document that was applied

	rejected    string // the digest of the last document that was rejected finally or failed to load; empty for none
	rejection   error
	loadFailure string // why the last document that was not rejected failed to load; empty if it did not
	logged      bool   // that this version is not used
	refused     bool   // the observer knows that this version was refused

	excluded         exclude.Set
	allowedConflicts exclude.AllowedConflicts
}

func newVersion(t Template) *version {
	return &version{template: t, allowedConflicts: exclude.AllowedConflicts{}}
}

// rendered is a document and what it was rendered from.
type rendered struct {
	version  *version // nil for a document of an earlier run
	snapshot sdk.Snapshot
	document sdk.Document
	excluded []exclude.Exclusion
}

// newPipeline returns a pipeline with t as the candidate, or without a candidate if t is nil.
func newPipeline(cfg PipelineConfig, t Template, src *source, log *slog.Logger) *pipeline {
	p := &pipeline{
		name: cfg.Name, source: src, templates: cfg.Templates, sink: cfg.Sink, sinkType: cfg.SinkType,
		sinkName: cfg.SinkName, paths: cfg.Paths, conflicts: cfg.Conflicts, watched: cfg.Inputs, log: log, observer: src.observer,
		snapshots: newMailbox[sdk.Snapshot](), inputChanges: newMailbox[map[string]string](),
		edited: newSignal(), requested: newSignal(), rereads: newSignal(), resumed: newSignal(),
		entries: &entries{}, changes: history.NewLog(),
		state: pipelineState{
			retries: newBackOff(250*time.Millisecond, 30*time.Second), loads: newLoadRetry(), applyTimeout: supersedeAfter,
			fault: &logdedup.Fault{}, inputs: newInputState(),
		},
	}
	if t != nil {
		p.state.candidate = newVersion(t)
	}
	if r, ok := cfg.Sink.(interface{ Restarted() <-chan struct{} }); ok {
		p.restarted = r.Restarted()
	}
	if n, ok := cfg.Sink.(interface{ Lost() <-chan sdk.Lost }); ok {
		p.lost = n.Lost()
	}
	p.publish()
	return p
}

func newBackOff(initial, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = initial, most
	return b
}

// run reconciles on every trigger until ctx is done.
func (p *pipeline) run(ctx context.Context) {
	defer p.resumed.raise() // for the next run
	var watchers sync.WaitGroup
	defer watchers.Wait()
	watchers.Go(func() {
		if err := p.templates.Watch(ctx, p.edited.raise); err != nil {
			p.log.Error("templates are no longer watched: restart to pick up edits", "error", err)
		}
	})
	// A sink begins to manage what it has with the first call. That must not wait for a source, which may be away.
	watchers.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		_, _ = p.sink.Health(ctx)
	})
	p.watchInputs(ctx, &watchers)
	if p.state.applied == nil {
		p.restore(ctx)
	}
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for {
		e, ok := p.wait(ctx, timer)
		if !ok {
			return
		}
		timer.Stop()
		next := p.reconcile(ctx, e)
		p.publish()
		if next.scheduled {
			timer.Reset(next.after)
		}
	}
}

// An event is a trigger with what came with it.
type event struct {
	trigger string
	lost    sdk.Lost // for TriggerLost
}

// wait returns the next event, and false when ctx is done.
func (p *pipeline) wait(ctx context.Context, timer *time.Timer) (event, bool) {
	select {
	case <-ctx.Done():
		return event{}, false
	case <-p.snapshots.ready:
		return event{trigger: TriggerSnapshot}, true
	case <-p.edited:
		return event{trigger: TriggerTemplate}, true
	case <-p.resumed:
		return event{trigger: TriggerConfig}, true
	case <-p.restarted:
		return event{trigger: TriggerRestart}, true
	case lost := <-p.lost:
		return event{TriggerLost, lost}, true
	case <-p.requested:
		return event{trigger: TriggerRequest}, true
	case <-p.inputChanges.ready:
		return event{trigger: TriggerInputs}, true
	case <-p.rereads:
		return event{trigger: TriggerReread}, true
	case <-timer.C:
		return event{trigger: TriggerRetry}, true
	}
}

// A schedule says when a pipeline reconciles again without another event. The zero schedule means never.
type schedule struct {
	after     time.Duration
	scheduled bool
}

func in(after time.Duration) schedule { return schedule{after, true} }

// earlier returns the one of s and other that comes first.
func (s schedule) earlier(other schedule) schedule {
	if !s.scheduled || other.scheduled && other.after < s.after {
		return other
	}
	return s
}
