package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/singleflight"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// What makes a pipeline look again: see [Entry].
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

// candidatePause is the least time between two tries of a template that the sink could not make live, though it might: each
// may disturb what the sink feeds.
const candidatePause = 30 * time.Second

// pipeline keeps one sink true to one source. All fields below the line belong to run's goroutine.
type pipeline struct {
	name      string
	source    *source
	templates Templates
	sink      sdk.Sink
	sinkType  string
	conflicts func([]sdk.File) [][2]sdk.Position // nil for none
	restarted <-chan struct{}                    // nil for a sink that cannot be restarted
	lost      <-chan sdk.Lost                    // nil for a sink that cannot tell
	snapshots *mailbox[sdk.Snapshot]
	edited    signal
	asked     signal
	rereads   signal
	resumed   signal // to look again after a stop
	log       *slog.Logger
	fault     *logdedup.Fault // the newest document could not be applied
	observer  Observer
	ledger    *ledger
	board     board
	pace      *backoff.ExponentialBackOff
	asking    singleflight.Group // how the sink is
	silent    atomic.Bool        // the sink let the last question pass
	inputs    *inputs
	running

	// ---
	active     *version // the template of the document in effect
	candidate  *version // a newer one that has not proved itself yet
	previous   *version // the one that active replaced; it is active again if the sink cannot keep active's first document
	dropped    bool     // the newest template is not the candidate any more, because trying it costs too much
	inEffect   *effect  // nil until a sink took a document, and again when it forgot
	accepted   *effect  // the last one that the sink took, also after it forgot
	generation uint64
	digest     string // of the document with that generation
	owed       *debt  // nil unless the sink put a document off
	trigger    string
	loads      loadRetry
	patience   time.Duration // how long an Apply may take when something newer waits
}

// newPipeline returns a pipeline with t for a candidate, and none where t is nil.
func newPipeline(cfg PipelineConfig, t Template, src *source, log *slog.Logger) *pipeline {
	p := &pipeline{
		name: cfg.Name, source: src, templates: cfg.Templates, sink: cfg.Sink, sinkType: cfg.SinkType, conflicts: cfg.Conflicts,
		log: log, observer: src.observer,
		snapshots: newMailbox[sdk.Snapshot](), edited: newSignal(), asked: newSignal(), rereads: newSignal(),
		resumed: newSignal(), inputs: newInputs(cfg.Inputs),
		fault: &logdedup.Fault{}, ledger: &ledger{}, pace: backoff.NewExponentialBackOff(),
	}
	if t != nil {
		p.candidate = newVersion(t)
	}
	p.pace.InitialInterval = 250 * time.Millisecond
	p.pace.MaxInterval = 30 * time.Second
	if r, ok := cfg.Sink.(interface{ Restarted() <-chan struct{} }); ok {
		p.restarted = r.Restarted()
	}
	if n, ok := cfg.Sink.(interface{ Lost() <-chan sdk.Lost }); ok {
		p.lost = n.Lost()
	}
	p.loads.backoff = newLoadBackOff()
	p.resetPatience()
	return p
}

func (p *pipeline) run(ctx context.Context) {
	defer p.resumed.raise() // should it run again
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		if err := p.templates.Watch(ctx, p.edited.raise); err != nil {
			p.log.Error("templates are no longer watched: restart to pick up edits", "error", err)
		}
	})
	// A sink looks after what it manages from the first call on. That must not wait for a catalogue that may be away.
	beside.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, askWithin)
		defer cancel()
		_, _ = p.sink.Health(ctx)
	})

	p.startInputs(ctx, &beside)
	if p.accepted == nil {
		p.recall(ctx)
	}
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.snapshots.ready:
			p.trigger = TriggerSnapshot
		case <-p.edited:
			p.trigger = TriggerTemplate
			p.loads.request() // its author may have removed the reason for which it failed to load
			p.load()
		case <-p.resumed:
			p.trigger = TriggerConfig
			if _, ok := p.snapshots.latest(); !ok && p.inEffect == nil {
				p.remind(ctx)
			}
		case <-p.restarted:
			p.trigger = TriggerRestart
			p.remind(ctx)
		case lost := <-p.lost:
			p.trigger = TriggerLost
			p.handleLost(lost)
		case <-p.asked:
			p.trigger = TriggerRequest
			p.retryAll()
			p.inEffect = nil
		case <-p.inputs.changes.ready:
			p.trigger = TriggerInputs
			p.takeInputs()
			p.retryAll()
		case <-p.rereads:
			p.trigger = TriggerReread
			p.reread(p.trigger)
		case <-retry.C:
			p.trigger = TriggerRetry
		}
		retry.Stop()
		wait, again := p.converge(ctx)
		reread, rereads := p.rereadPending(ctx)
		if wait, again = sooner(wait, again, reread, rereads); again {
			retry.Reset(wait)
		}
	}
}

// sooner returns the shorter one of two waits. Each comes with whether there is anything to wait for.
func sooner(one time.Duration, isOne bool, other time.Duration, isOther bool) (time.Duration, bool) {
	if !isOne || isOther && other < one {
		return other, isOther
	}
	return one, isOne
}

// retryAll tries everything again, also what failed to load or was given up before.
func (p *pipeline) retryAll() {
	p.loads.request()
	p.reread(p.trigger)
	if p.dropped {
		p.load()
	}
}

// remind gives the last good document to a sink that was started anew and knows nothing. The newest one may be no good, and
// then that one has to hold.
func (p *pipeline) remind(ctx context.Context) {
	again := p.startAnew()
	if p.accepted != nil && p.reapply(ctx) && again {
		p.inEffect = nil // the newest document may do now
	}
}

// startAnew forgets what the sink did and refused before, since it may do otherwise now. It reports whether anybody was left out.
func (p *pipeline) startAnew() bool {
	refused := p.forgetRefused()
	p.inEffect = nil
	return refused
}

// forgetRefused forgets what the sink refused before. It reports whether anybody was left out.
func (p *pipeline) forgetRefused() bool {
	refused := false
	for _, v := range []*version{p.active, p.candidate} {
		if v == nil {
			continue
		}
		refused = refused || len(v.excluded) > 0
		v.excluded = nil
		if !isNotLoaded(v.refusal) || p.loads.requested {
			v.refused, v.refusal = "", nil
		}
	}
	return refused
}

// recall takes up what an earlier run had in effect: its numbers go on, and its document holds where the template and the
// snapshot that are there now make no good one.
func (p *pipeline) recall(ctx context.Context) {
	was, ok := p.source.store.AppliedDocument(p.name)
	if !ok || was.SinkType != p.sinkType || was.Document.Digest == "" {
		return
	}
	snap, known := p.source.latest()
	p.generation, p.digest = was.Document.Generation, was.Document.Digest
	p.accepted = &effect{snapshot: snap, document: was.Document, excluded: was.Excluded}
	if !known {
		p.trigger = TriggerStart
		p.fallBack(ctx)
	}
}

// fallBack gives the sink what an earlier run had in effect, if this one has nothing yet.
func (p *pipeline) fallBack(ctx context.Context) {
	if p.active == nil && p.inEffect == nil && p.accepted != nil && p.owed == nil {
		p.reapply(ctx)
	}
}

// load takes the template set as it is now for the candidate. One that does not even load leaves no candidate: the file is
// broken, and the version before it was replaced by its author.
func (p *pipeline) load() {
	p.dropped = false
	t, err := p.templates.Load()
	if err != nil {
		p.candidate = nil
		p.refuse(err)
		return
	}
	p.candidate = newVersion(t)
}

// refuse tells of a template that does not load.
func (p *pipeline) refuse(err error) {
	_ = p.board.setTemplateError(err)
	p.log.Error("the edited template is not used", "error", err)
}

// converge tries to bring the newest snapshot into effect. It returns when to try again, if that may help.
func (p *pipeline) converge(ctx context.Context) (time.Duration, bool) {
	snap, ok := p.snapshots.latest()
	if !ok {
		return p.reapplyPending(ctx)
	}
	err := p.try(ctx, snap)
	if ctx.Err() != nil {
		return 0, false
	}
	if errors.Is(err, sdk.ErrDeferred) {
		return p.wait(err), true
	}
	p.board.setWaiting(nil)
	p.loads.requested = false
	if err == nil {
		p.pace.Reset()
		p.loads.reset()
		p.resetPatience()
		p.board.setApplyError(nil)
		p.faultOver()
		return p.active.excluded.RetryIn()
	}
	if _, unproven := errors.AsType[*unprovenError](err); unproven {
		p.board.setApplyError(nil)
		p.faultOver()
		recheck, rechecks := p.active.excluded.RetryIn()
		return sooner(max(p.pace.NextBackOff(), candidatePause), true, recheck, rechecks)
	}
	p.board.setApplyError(err)
	p.fallBack(ctx)
	if isNotLoaded(err) {
		wait, again := p.waitToLoad(err)
		pending, isPending := p.redeem(ctx)
		return sooner(wait, again, pending, isPending)
	}
	if final(err) {
		p.reportFault(err)
		return p.redeem(ctx)
	}
	wait := p.pace.NextBackOff()
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		wait = max(wait, hint.After)
	}
	p.reportFault(err, "again_in", wait.Round(time.Millisecond))
	return wait, true
}

// reportFault logs that the newest document could not be applied, unless the same was logged already.
func (p *pipeline) reportFault(err error, args ...any) {
	message := "apply failed; keeping the previous configuration"
	if p.accepted == nil {
		message = "apply failed; no configuration is in effect yet"
	}
	p.fault.Error(p.log, message, err, args...)
}

// faultOver logs that documents can be applied again, if that was not so.
func (p *pipeline) faultOver() { p.fault.Resolve(p.log, "documents are applied again") }

// try lets the candidate prove itself. While it does not, whatever the reason, the active version renders what comes from the
// catalogue; the candidate is tried again with the next snapshot, with the next edit, and when its trouble may have passed,
// unless it would go on and on.
func (p *pipeline) try(ctx context.Context, snap sdk.Snapshot) error {
	if p.candidate == nil {
		if p.active == nil {
			return &TemplateError{errors.New("there is no template to render with: mend it and save it")}
		}
		err := p.offer(ctx, p.active, snap)
		if err != nil && !final(err) {
			// The sink has to have kept the document before. Having failed once, it is asked again when that one is wanted.
			p.inEffect = nil
		}
		return err
	}
	err := p.offer(ctx, p.candidate, snap)
	switch {
	case err == nil:
		p.previous, p.active, p.candidate = p.active, p.candidate, nil
		p.active.first = p.generation
		p.board.setActive(p.active.template)
		if p.board.setTemplateError(nil) != nil {
			p.log.Info("template accepted again")
		}
		p.tellVolatile(ctx, p.active.template, snap)
		return nil
	case p.active == nil || errors.Is(err, sdk.ErrDeferred) || ctx.Err() != nil:
		return err
	}
	p.blame(p.candidate, err)
	if exclude.IsEndless(err) || isNotLoaded(err) {
		// Each try holds up what comes from the catalogue, or interrupts what the sink manages. Saving the template again makes
		// another candidate, and so does a request.
		p.candidate, p.dropped = nil, true
	}
	if instead := p.offer(ctx, p.active, snap); instead != nil || p.candidate == nil || final(err) {
		return instead
	}
	return &unprovenError{err}
}

// unprovenError says that all is well but for a candidate whose trouble may pass.
type unprovenError struct{ error }

func (e *unprovenError) Unwrap() error { return e.error }

// blame says once that v is not used; v is tried again with every snapshot all the same.
func (p *pipeline) blame(v *version, err error) {
	_ = p.board.setTemplateError(err)
	if !v.blamed {
		v.blamed = true
		p.log.Error("the edited template is not used", "error", err)
	}
}
