package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// version is one state of the template set, and the last document of a whole snapshot that the sink refused for good or failed
// to load.
type version struct {
	template Template
	first    uint64 // the generation of the first document of it that was in effect
	refused  string // a digest
	refusal  error
	blamed   bool     // it was said that this version is not used
	culprits culprits // whom it leaves out
}

// effect is what the sink has made live.
type effect struct {
	version  *version
	snapshot sdk.Snapshot
	document sdk.Document
	leftOut  []LeftOut // of the snapshot
}

// has reports whether e has the owner in it, looking as it does in the charge.
func (e *effect) has(who owner, ch charge) bool {
	looked, known := who.portrait(e.snapshot)
	return known && looked.SameCatalogue(ch.looked) && !slices.ContainsFunc(e.leftOut, func(l LeftOut) bool {
		return l.Service == who.service && (l.whole() || who.instance && l.Hostname == who.hostname && l.ID == who.id)
	})
}

// offer renders snap with v and gives the document to the sink, unless it is in effect already. Where the sink rejects it and
// tells whose fault that is, the others go live without those.
func (p *pipeline) offer(ctx context.Context, v *version, snap sdk.Snapshot) error {
	left := v.culprits.still(snap)
	if e := p.inEffect; e != nil && e.version == v && snap.SameCatalogue(e.snapshot) && len(left) == len(v.culprits) {
		return nil
	}
	e, notes, err := p.render(ctx, v, snap, left)
	if err != nil {
		return err
	}
	first := e.document.Digest
	if v.refused == first && !p.isInEffect(first) && (!isNotLoaded(v.refusal) || !p.loads.due()) {
		p.tell(notes)
		return v.refusal
	}
	err = p.present(ctx, e, notes)
	if isRejected(err) {
		e, left, err = p.isolate(ctx, e, left, err)
	}
	switch {
	case ctx.Err() != nil:
		return err
	case isRejected(err):
		if final(err) {
			v.refused, v.refusal = first, err
		}
		return err
	case isNotLoaded(err):
		v.refused, v.refusal = first, err
	}
	v.culprits = left
	p.conclude(e, err)
	return err
}

// isolate leaves out those for whom the sink rejects e, which lacks some already, until the sink takes the rest. Each round
// leaves out more, so this ends. It returns what was offered last, who is missing in it, and what became of it; an error that
// is a rejection means that there is no way out.
func (p *pipeline) isolate(ctx context.Context, e *effect, left culprits, err error) (*effect, culprits, error) {
	var first error
	for isRejected(err) {
		more, ok, verdict := p.judge(ctx, e, left, err)
		if first == nil {
			first = verdict
		}
		verdict = both(first, verdict)
		if !ok {
			return e, left, verdict
		}
		next, notes, unable := p.render(ctx, e.version, e.snapshot, more)
		if unable != nil { // the template needs what would be missing
			return e, left, verdict
		}
		e, left = next, more
		err = p.present(ctx, e, notes)
	}
	return e, left, err
}

// both puts the verdicts on the whole and on what was left of it into a sentence. It is final only if the last one is.
func both(first, last error) error {
	switch {
	case first == last: //nolint:errorlint // the very same
		return last
	case final(last):
		return fmt.Errorf("%w; and without that: %w", first, last)
	default:
		return fmt.Errorf("%v; and without that: %w", first, last) //nolint:errorlint // final perhaps, which last is not
	}
}

// conclude notes what became of e, which was not rejected.
func (p *pipeline) conclude(e *effect, err error) {
	if deferred, ok := errors.AsType[*sdk.DeferredError](err); ok {
		p.owed = &debt{effect: e, reason: deferred.Reason, due: time.Now().Add(deferred.After)}
	}
	switch {
	case err == nil:
		p.settle(e)
	case p.active == nil || p.active == e.version:
		p.tellLeftOut(e.leftOut)
	}
}

// render makes the document of snap without the culprits.
func (p *pipeline) render(
	ctx context.Context, v *version, snap sdk.Snapshot, left culprits,
) (*effect, []string, error) {
	began := time.Now()
	files, notes, err := v.template.Render(ctx, left.without(snap))
	p.observer.Rendered(p.name, time.Since(began), err)
	if err != nil {
		return nil, nil, &TemplateError{err}
	}
	doc := sdk.Document{Pipeline: p.name, Digest: sdk.DigestOf(files), Files: files}
	return &effect{v, snap, doc, left.list()}, firstOf(notes), nil
}

// maxNotes bounds what is kept and logged of what a template has to say, which a catalogue may make endless.
const maxNotes = 100

// firstOf returns notes, or so many of them that the ledger can keep them, and how many more there are.
func firstOf(notes []string) []string {
	if len(notes) <= maxNotes {
		return notes
	}
	return append(slices.Clone(notes[:maxNotes]), fmt.Sprintf("and %d more", len(notes)-maxNotes))
}

// present gives the document to the sink, unless it is in effect already.
func (p *pipeline) present(ctx context.Context, e *effect, notes []string) error {
	p.tell(notes)
	digest := e.document.Digest
	if p.isInEffect(digest) {
		e.document = p.inEffect.document
		return nil
	}
	if digest != p.digest {
		p.generation, p.digest = p.generation+1, digest
	}
	e.document.Generation = p.generation
	return p.apply(ctx, e, notes)
}

func (p *pipeline) isInEffect(digest string) bool {
	return p.inEffect != nil && p.inEffect.document.Digest == digest
}

// judge puts the rejection of e, which lacks some already, into words, and returns whom to leave out instead, if that may help. A
// candidate may leave out only whom the active version leaves out as well: all others are live with that one, so it must
// be the candidate's own fault. And what is live, and was good when it became so, is not taken away for a trouble that passes.
func (p *pipeline) judge(
	ctx context.Context, e *effect, left culprits, err error,
) (more culprits, ok bool, verdict error) {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Places) == 0 {
		return nil, false, err
	}
	lines := traceOf(ctx, e.version.template, left.without(e.snapshot), e.document.Files)
	var faults []fault
	for _, place := range rejection.Places {
		faults = append(faults, fault{place, lines.at(place)})
	}
	var until time.Time
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok && rejection.Passes {
		until = time.Now().Add(max(hint.After, leastDeferral))
	}
	more, ok = left.charged(e.snapshot, faults, lines, until)
	if rejection.Passes && p.accepted != nil {
		ok = ok && !more.any(p.accepted.has)
	}
	if p.active != nil && p.active != e.version {
		known := p.active.culprits.still(e.snapshot)
		ok = ok && !more.any(func(who owner, _ charge) bool { return !known.cover(who) })
	}
	return more, ok, explain(lines, rejection, err)
}

func (p *pipeline) settle(e *effect) {
	p.inEffect, p.accepted, p.owed = e, e, nil
	p.source.memory.KeepInEffect(p.name, InEffect{p.sinkType, e.document, e.leftOut})
	p.tellLeftOut(e.leftOut)
}

func (p *pipeline) apply(ctx context.Context, e *effect, notes []string) error {
	doc := e.document
	doc.Retry = p.loads.due()
	entry := Entry{
		Pipeline: p.name, Generation: doc.Generation, Digest: doc.Digest, Trigger: p.trigger,
		Last: e.snapshot.Last, Notes: notes, LeftOut: e.leftOut, Received: e.snapshot.Taken, Offered: time.Now(),
	}
	p.board.setOffered(entry.Offered)
	applying, release := p.untilSuperseded(ctx, e)
	entry.Result, entry.Err = p.sink.Apply(applying, doc)
	superseded := release() && entry.Err != nil
	p.board.setOffered(time.Time{})
	entry.Took = time.Since(entry.Offered)
	p.setPatience(superseded)
	if ctx.Err() != nil {
		p.inEffect = nil // what was broken off may be live, or half of it
		return ctx.Err()
	}
	if superseded {
		p.inEffect = nil
		entry.Err = &supersededError{entry.Took, entry.Err}
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

// tellLeftOut logs who is left out from now on, and who no longer is.
func (p *pipeline) tellLeftOut(now []LeftOut) {
	before := p.board.setLeftOut(now)
	for _, l := range now {
		if !slices.ContainsFunc(before, l.same) {
			p.log.Warn("left out, so that the rest can go live", append(l.fields(), "reason", l.Reason)...)
		}
	}
	for _, l := range before {
		if !slices.ContainsFunc(now, l.same) {
			p.log.Info("no longer left out", l.fields()...)
		}
	}
}

// A TemplateError says that a template could not render a snapshot.
type TemplateError struct{ Err error }

func (e *TemplateError) Error() string { return e.Err.Error() }

// Unwrap returns the renderer's own error.
func (e *TemplateError) Unwrap() error { return e.Err }

// isRejected reports whether it is the document that is no good, for now or for ever.
func isRejected(err error) bool {
	_, ok := errors.AsType[*sdk.Rejection](err)
	return ok || errors.Is(err, sdk.ErrRejected)
}

// final reports whether trying the same again is useless.
func final(err error) bool {
	_, template := errors.AsType[*TemplateError](err)
	return template || errors.Is(err, sdk.ErrRejected)
}
