package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// What makes a pipeline look again: see [Entry].
const (
	TriggerSnapshot = "snapshot"
	TriggerTemplate = "template"
	TriggerRestart  = "sink restart"
	TriggerRetry    = "retry"
)

// candidatePause is the least time between two tries of a template that the sink could not make live, though it might: each
// may disturb what the sink feeds.
const candidatePause = 30 * time.Second

// pipeline keeps one sink true to one source. All fields below the line belong to run's goroutine.
type pipeline struct {
	name      string
	source    string
	templates Templates
	sink      sdk.Sink
	restarted <-chan struct{} // nil for a sink that cannot be restarted
	snapshots *mailbox[sdk.Snapshot]
	edited    signal
	log       *slog.Logger
	observer  Observer
	ledger    *ledger
	board     board
	pace      *backoff.ExponentialBackOff

	// ---
	active     *version // the template of the document in effect
	candidate  *version // a newer one that has not proved itself yet
	inEffect   *effect  // nil until a sink took a document, and again when it forgot
	accepted   *effect  // the last one that the sink took, also after it forgot
	generation uint64
	digest     string // of the document with that generation
	trigger    string
}

// version is one state of the template set, and the last document of it that the sink refused for good.
type version struct {
	template Template
	refused  string // a digest
	refusal  error
	blamed   bool // it was said that this version is not used
}

// effect is what the sink has made live.
type effect struct {
	version  *version
	snapshot sdk.Snapshot
	document sdk.Document
}

func newPipeline(cfg PipelineConfig, t Template, log *slog.Logger, o Observer) *pipeline {
	p := &pipeline{
		name: cfg.Name, source: cfg.Source, templates: cfg.Templates, sink: cfg.Sink, log: log, observer: o,
		snapshots: newMailbox[sdk.Snapshot](), edited: newSignal(), ledger: &ledger{},
		candidate: &version{template: t}, pace: backoff.NewExponentialBackOff(),
	}
	p.pace.InitialInterval = 250 * time.Millisecond
	p.pace.MaxInterval = 30 * time.Second
	if r, ok := cfg.Sink.(interface{ Restarted() <-chan struct{} }); ok {
		p.restarted = r.Restarted()
	}
	return p
}

func (p *pipeline) run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		if err := p.templates.Watch(ctx, p.edited.raise); err != nil {
			p.log.Error("templates are no longer watched: restart to pick up edits", "error", err)
		}
	})
	// A sink looks after what it manages from the first call on. That must not wait for a catalogue that may be away.
	beside.Go(func() { p.health(ctx) })

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
			p.load()
		case <-p.restarted:
			p.trigger = TriggerRestart
			p.remind(ctx)
		case <-retry.C:
			p.trigger = TriggerRetry
		}
		retry.Stop()
		if wait, again := p.converge(ctx); again {
			retry.Reset(wait)
		}
	}
}

// remind gives the last good document to a sink that was started anew and knows nothing. The newest one may be no good, and
// then that one has to hold. What the sink refused before it may take now.
func (p *pipeline) remind(ctx context.Context) {
	for _, v := range []*version{p.active, p.candidate} {
		if v != nil {
			v.refused = ""
		}
	}
	p.inEffect = nil
	if p.accepted != nil && p.apply(ctx, p.accepted.document, p.accepted.snapshot, nil) == nil {
		p.inEffect = p.accepted
	}
}

// load takes the template set as it is now for the candidate. One that does not even load leaves no candidate: the file is
// broken, and the version before it was replaced by its author.
func (p *pipeline) load() {
	t, err := p.templates.Load()
	if err != nil {
		p.candidate = nil
		p.board.setTemplateError(err)
		p.log.Error("the edited template is not used", "error", err)
		return
	}
	p.candidate = &version{template: t}
}

// converge tries to bring the newest snapshot into effect. It returns when to try again, if that may help.
func (p *pipeline) converge(ctx context.Context) (time.Duration, bool) {
	snap, ok := p.snapshots.latest()
	if !ok {
		return 0, false
	}
	err := p.try(ctx, snap)
	switch {
	case ctx.Err() != nil:
		return 0, false
	case err == nil:
		p.pace.Reset()
		p.board.setApplyError(nil)
		return 0, false
	}
	if _, unproven := errors.AsType[*unprovenError](err); unproven {
		p.board.setApplyError(nil)
		return max(p.pace.NextBackOff(), candidatePause), true
	}
	p.board.setApplyError(err)
	if final(err) {
		p.log.Error("the last good configuration stays in effect", "error", err)
		return 0, false
	}
	wait := p.pace.NextBackOff()
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		wait = max(wait, hint.After)
	}
	p.log.Error("the last good configuration stays in effect for now", "error", err, "again_in", wait.Round(time.Millisecond))
	return wait, true
}

// try lets the candidate prove itself. While it does not, whatever the reason, the active version renders what comes from the
// catalogue; the candidate is tried again with the next snapshot, with the next edit, and when its trouble may have passed.
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
		p.active, p.candidate = p.candidate, nil
		p.board.setTemplateError(nil)
		return nil
	case p.active == nil || ctx.Err() != nil:
		return err
	}
	p.blame(p.candidate, err)
	if instead := p.offer(ctx, p.active, snap); instead != nil || final(err) {
		return instead
	}
	return &unprovenError{err}
}

// unprovenError says that all is well but for a candidate whose trouble may pass.
type unprovenError struct{ error }

func (e *unprovenError) Unwrap() error { return e.error }

// offer renders snap with v and gives the document to the sink, unless it is in effect already.
func (p *pipeline) offer(ctx context.Context, v *version, snap sdk.Snapshot) error {
	if e := p.inEffect; e != nil && e.version == v && snap.SameCatalogue(e.snapshot) {
		return nil
	}
	began := time.Now()
	files, notes, err := v.template.Render(snap)
	p.observer.Rendered(p.name, time.Since(began), err)
	if err != nil {
		return &TemplateError{err}
	}
	p.tell(notes)
	digest := sdk.DigestOf(files)
	switch {
	case p.inEffect != nil && p.inEffect.document.Digest == digest:
		p.settle(&effect{v, snap, p.inEffect.document})
		return nil
	case v.refused == digest:
		return v.refusal
	}
	if digest != p.digest {
		p.generation, p.digest = p.generation+1, digest
	}
	doc := sdk.Document{Pipeline: p.name, Generation: p.generation, Digest: digest, Files: files}
	err = p.apply(ctx, doc, snap, notes)
	switch {
	case err == nil:
		p.settle(&effect{v, snap, doc})
	case errors.Is(err, sdk.ErrRejected):
		v.refused, v.refusal = digest, err
	}
	return err
}

func (p *pipeline) settle(e *effect) { p.inEffect, p.accepted = e, e }

func (p *pipeline) apply(ctx context.Context, doc sdk.Document, snap sdk.Snapshot, notes []string) error {
	entry := Entry{
		Pipeline: p.name, Generation: doc.Generation, Digest: doc.Digest, Trigger: p.trigger,
		Last: snap.Last, Notes: notes, Received: snap.Taken, Offered: time.Now(),
	}
	p.board.setOffered(entry.Offered)
	entry.Result, entry.Err = p.sink.Apply(ctx, doc)
	p.board.setOffered(time.Time{})
	entry.Took = time.Since(entry.Offered)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.ledger.add(entry)
	p.observer.Applied(entry)
	if entry.Err == nil {
		p.board.setInEffect(doc)
		p.log.Info("configuration in effect", "generation", doc.Generation, "action", entry.Result.Action,
			"reason", entry.Result.Reason, "trigger", entry.Trigger, "took", entry.Took.Round(time.Millisecond))
	}
	return entry.Err
}

// tell logs notes that are new: the same ones come with every render.
func (p *pipeline) tell(notes []string) {
	before := p.board.setNotes(notes)
	for _, note := range notes {
		if !slices.Contains(before, note) {
			p.log.Warn("found in the catalogue", "note", note)
		}
	}
}

// blame says once that v is not used; v is tried again with every snapshot all the same.
func (p *pipeline) blame(v *version, err error) {
	p.board.setTemplateError(err)
	if !v.blamed {
		v.blamed = true
		p.log.Error("the edited template is not used", "error", err)
	}
}

// A TemplateError says that a template could not render a snapshot.
type TemplateError struct{ Err error }

func (e *TemplateError) Error() string { return e.Err.Error() }

// Unwrap returns the renderer's own error.
func (e *TemplateError) Unwrap() error { return e.Err }

// final reports whether trying the same again is useless.
func final(err error) bool {
	_, template := errors.AsType[*TemplateError](err)
	return template || errors.Is(err, sdk.ErrRejected)
}
