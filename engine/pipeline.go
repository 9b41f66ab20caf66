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

// A pipeline keeps one sink in sync with one source. Its own goroutine receives triggers and calls reconcile for each. The other
// methods of this file and those of status.go and health.go may be called from any goroutine.
type pipeline struct {
	name       string
	source     *source
	templates  Templates
	sink       sdk.Sink
	sinkType   string
	sinkName   string
	paths      []string                            // of the template files
	conflicts  func([]sdk.File) []exclude.Conflict // nil for none
	watched    Inputs                              // nil for none
	log        *slog.Logger
	appliedLog *appliedLog
	observer   Observer
	tracer     Tracer // nil for none

	snapshots    *mailbox[causedSnapshot]
	inputChanges *mailbox[map[string]string] // the watched files
	edited       *mailbox[cause]             // the template set changed
	requested    *mailbox[cause]             // see [Engine.Apply]
	rereads      signal                      // see [Engine.Reread]
	resumed      signal                      // the pipeline runs again after a stop
	restarted    <-chan struct{}             // nil for a sink that cannot be restarted
	lost         <-chan sdk.Lost             // nil for a sink that is no [sdk.Notifier]
	events       <-chan sdk.Event            // nil for a sink that is no [sdk.EventReporter]

	history   *history.Log
	published atomic.Pointer[publishedStatus]
	running

	healthCalls healthCalls
	servers     serverCache

	state pipelineState // of the pipeline's goroutine
}

// pipelineState is what a pipeline knows about its templates and its sink. Only the pipeline's goroutine accesses it.
type pipelineState struct {
	cause      cause // the current one
	reconciled cause // of the last snapshot

	active             *version // the template of the applied document
	candidate          *version // a newer one without an applied document
	previous           *version // what active replaced; it is active again if the sink loses active's first document
	candidateAbandoned bool     // the newest template is no longer the candidate, because each attempt costs too much

	applied    *rendered // the document that the sink applied last; nil for none
	inSync     bool      // the sink still has it; if not, the next document is applied even if it is the same
	pending    *pendingApply
	generation uint64 // of the newest document that was passed to the sink
	digest     string // of that document
	rendering  rendering

	retries       *backoff.ExponentialBackOff // of the newest document
	loads         loadRetry
	applyTimeout  time.Duration   // how long an Apply may take if something newer waits
	fault         *logdedup.Fault // the newest document cannot be applied
	templateFault *logdedup.Fault // the saved template cannot be used
	inputs        inputState

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
	isNew    bool // the sink was not passed the document yet
}

// A rendering says when a document was rendered; it is zero for one that was not rendered again.
type rendering struct {
	began time.Time
	took  time.Duration
}

// newPipeline returns a pipeline with t as the candidate, or without a candidate if t is nil.
func newPipeline(cfg PipelineConfig, t Template, src *source, log *slog.Logger) *pipeline {
	p := &pipeline{
		name: cfg.Name, source: src, templates: cfg.Templates, sink: cfg.Sink, sinkType: cfg.SinkType,
		sinkName: cfg.SinkName, paths: cfg.Paths, conflicts: cfg.Conflicts, watched: cfg.Inputs, log: log,
		appliedLog: &appliedLog{log: log}, observer: src.observer,
		snapshots: newMailbox[causedSnapshot](), inputChanges: newMailbox[map[string]string](),
		edited: newMailbox[cause](), requested: newMailbox[cause](), rereads: newSignal(), resumed: newSignal(),
		history: history.NewLog(),
		state: pipelineState{
			retries: newBackOff(250*time.Millisecond, 30*time.Second), loads: newLoadRetry(), applyTimeout: supersedeAfter,
			fault: &logdedup.Fault{}, templateFault: &logdedup.Fault{}, inputs: newInputState(),
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
	if r, ok := cfg.Sink.(interface{ Events() <-chan sdk.Event }); ok {
		p.events = r.Events()
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
	defer p.appliedLog.flush()
	var watchers sync.WaitGroup
	defer watchers.Wait()
	watchers.Go(func() {
		saved := func(path string) { p.edited.put(causeNow(history.TriggerSave, path)) }
		if err := p.templates.Watch(ctx, saved); err != nil {
			p.log.Error("templates are no longer watched: restart to pick up edits", "error", err)
		}
	})
	// A sink begins to manage what it has with the first call. That must not wait for a source, which may be away.
	watchers.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, healthTimeout)
		defer cancel()
		_, _ = p.sink.Health(ctx)
	})
	watchers.Go(func() { p.recordEvents(ctx) })
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

// wait returns the next event, and false when ctx is done.
func (p *pipeline) wait(ctx context.Context, timer *time.Timer) (event, bool) {
	select {
	case <-ctx.Done():
		return event{}, false
	case <-p.snapshots.ready:
		newest, _ := p.snapshots.latest()
		return event{cause: newest.cause}, true
	case <-p.edited.ready:
		save, _ := p.edited.latest()
		return event{cause: save}, true
	case <-p.resumed:
		return event{cause: causeNow(history.TriggerConfig, "")}, true
	case <-p.restarted:
		return event{cause: causeNow(history.TriggerRestart, "")}, true
	case lost := <-p.lost:
		return event{cause: causeNow(history.TriggerLost, ""), lost: lost}, true
	case <-p.requested.ready:
		request, _ := p.requested.latest()
		return event{cause: request}, true
	case <-p.inputChanges.ready:
		return event{cause: causeNow(history.TriggerInputs, "")}, true
	case <-p.rereads:
		return event{cause: causeNow(history.TriggerReread, "")}, true
	case <-timer.C:
		return event{cause: causeNow(history.TriggerRetry, "")}, true
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
