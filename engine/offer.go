package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// version is one state of the template set, and the last document of a whole snapshot that the sink refused for good or failed
// to load.
type version struct {
	template Template
	first    uint64 // the generation of the first document of it that was in effect
	refused  string // a digest
	refusal  error

	loadFailure string // why the last document that was not rejected failed to load; empty if it did not

	blamed   bool            // it was said that this version is not used
	culprits culprits        // whom it leaves out
	shared   map[string]bool // the conflicts that are none, by their keys
}

// effect is what the sink has made live.
type effect struct {
	version  *version
	snapshot sdk.Snapshot
	document sdk.Document
	leftOut  []LeftOut // of the snapshot
}

// offer renders snap with v and gives the document to the sink, unless it is in effect already. Where an iteration of the
// template fails, where two owners claim one thing, and where the sink rejects the document and tells whose fault that is, the
// others go live without those.
func (p *pipeline) offer(ctx context.Context, v *version, snap sdk.Snapshot) error {
	in := indexOf(snap)
	left := v.culprits.still(in)
	if e := p.inEffect; e != nil && e.version == v && snapshots.Equal(snap, e.snapshot) && len(left) == len(v.culprits) {
		return nil
	}
	r, err := p.renderExcluding(ctx, v, in, left)
	if err != nil {
		return err
	}
	first := r.document.Digest
	if v.refused == first && !p.isInEffect(first) && (!isNotLoaded(v.refusal) || !p.loads.due()) {
		p.tell(r.notes)
		return v.refusal
	}
	entry, err := p.present(ctx, r)
	if isRejected(err) {
		r, entry, err = p.isolate(ctx, r, in, entry, err)
	}
	p.observe(ctx, entry)
	switch {
	case ctx.Err() != nil:
		return err
	case isRejected(err):
		if final(err) {
			v.refused, v.refusal = first, err
		}
		return err
	case isNotLoaded(err):
		v.refused, v.refusal, v.loadFailure = first, err, err.Error()
	case err == nil:
		v.loadFailure = ""
	}
	v.culprits = r.left
	p.conclude(r.effect, err)
	return err
}

// conclude notes what became of e, which was not rejected.
func (p *pipeline) conclude(e *effect, err error) {
	if deferred, ok := errors.AsType[*sdk.DeferredError](err); ok {
		p.owed = &debt{effect: e, reason: deferred.Reason, due: time.Now().Add(deferred.After)}
	}
	if isNotLoaded(err) && p.owed != nil && p.owed.document.Digest == e.document.Digest {
		p.owed = nil
	}
	switch {
	case err == nil:
		p.settle(e)
	case p.active == nil || p.active == e.version:
		p.tellLeftOut(e.leftOut)
	}
}

// A rendering is a document that may come into effect, without whom it was rendered, and what the template has to say.
type rendering struct {
	*effect
	left  culprits
	notes []string
}

// render makes the document of snap without the culprits.
func (p *pipeline) render(ctx context.Context, v *version, snap sdk.Snapshot, left culprits) (*rendering, error) {
	began := time.Now()
	files, notes, err := v.template.Render(ctx, left.without(snap))
	p.observer.Rendered(p.name, time.Since(began), err)
	if err != nil {
		return nil, &TemplateError{err}
	}
	doc := sdk.Document{Pipeline: p.name, Digest: sdk.DigestOf(files), Files: files}
	return &rendering{&effect{v, snap, doc, left.list()}, left, firstOf(notes)}, nil
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

// firstLeftOut returns as many as an entry keeps.
func firstLeftOut(all []LeftOut) []LeftOut {
	if len(all) <= maxNotes {
		return all
	}
	return slices.Clone(all[:maxNotes]) // the others are not held on to
}

// present gives the document to the sink and returns what became of it. Where it is in effect already there is no entry.
func (p *pipeline) present(ctx context.Context, r *rendering) (*Entry, error) {
	p.tell(r.notes)
	digest := r.document.Digest
	if p.isInEffect(digest) {
		r.document = p.inEffect.document
		return nil, nil
	}
	if digest != p.digest {
		p.generation, p.digest = p.generation+1, digest
	}
	r.document.Generation = p.generation
	entry := p.apply(ctx, r.effect, r.notes)
	return entry, entry.Err
}

func (p *pipeline) isInEffect(digest string) bool {
	return p.inEffect != nil && p.inEffect.document.Digest == digest
}

func (p *pipeline) settle(e *effect) {
	p.inEffect, p.accepted, p.owed = e, e, nil
	p.source.store.SaveAppliedDocument(p.name, AppliedDocument{p.sinkType, e.document, e.leftOut})
	p.tellLeftOut(e.leftOut)
}

// apply gives the document of e to the sink. The caller passes the entry to observe, unless the document is offered again in
// another form.
func (p *pipeline) apply(ctx context.Context, e *effect, notes []string) *Entry {
	doc := e.document
	doc.Retry, doc.Watched = p.loads.due(), p.inputs.id()
	if e.version != nil {
		doc.LoadFailure = e.version.loadFailure
	}
	entry := &Entry{
		Pipeline: p.name, Generation: doc.Generation, Digest: doc.Digest, Trigger: p.trigger,
		Last: e.snapshot.Last, Notes: notes, LeftOut: firstLeftOut(e.leftOut), Received: e.snapshot.Taken, Offered: time.Now(),
	}
	p.board.setOffered(entry.Offered)
	applying, release := p.untilSuperseded(ctx, e)
	entry.Result, entry.Err = p.sink.Apply(applying, doc)
	superseded := release() && entry.Err != nil
	p.board.setOffered(time.Time{})
	entry.Took = time.Since(entry.Offered)
	if superseded {
		p.extendPatience()
	}
	if ctx.Err() != nil {
		p.inEffect = nil // what was broken off may be live, or half of it
		entry.Err = ctx.Err()
		return entry
	}
	if superseded {
		p.inEffect = nil
		entry.Err = &supersededError{entry.Took, entry.Err}
	}
	p.ledger.add(*entry)
	if entry.Err == nil {
		p.inputs.applied(entry.Result)
		p.board.setInEffect(doc)
		p.log.Info("configuration in effect", "generation", doc.Generation, "action", entry.Result.Action,
			"reason", entry.Result.Reason, "trigger", entry.Trigger, "took", entry.Took.Round(time.Millisecond))
	}
	return entry
}

// observe counts what became of a document. A rejection is not passed to it where the document went live without those whose
// lines were rejected: that is not a failure. entry may be nil.
func (p *pipeline) observe(ctx context.Context, entry *Entry) {
	if entry != nil && ctx.Err() == nil {
		p.observer.Applied(*entry)
	}
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

// tellLeftOut logs who is left out from now on, and who no longer is, up to a bound.
func (p *pipeline) tellLeftOut(now []LeftOut) {
	before := p.board.setLeftOut(now)
	newly := othersThan(now, before)
	for _, l := range newly[:min(len(newly), toldAtOnce)] {
		p.log.Warn("left out, so that the rest can go live", append(l.fields(), "reason", l.Reason)...)
	}
	if more := len(newly) - toldAtOnce; more > 0 {
		p.log.Warn("left out, so that the rest can go live", "and_more", more)
	}
	back := othersThan(before, now)
	for _, l := range back[:min(len(back), toldAtOnce)] {
		p.log.Info("no longer left out", l.fields()...)
	}
	if more := len(back) - toldAtOnce; more > 0 {
		p.log.Info("no longer left out", "and_more", more)
	}
}

// othersThan returns those of all whom the list does not have, for whatever reason.
func othersThan(all, list []LeftOut) []LeftOut {
	known := make(map[owner]bool, len(list))
	for _, l := range list {
		known[l.owner()] = true
	}
	var others []LeftOut
	for _, l := range all {
		if !known[l.owner()] {
			others = append(others, l)
		}
	}
	return others
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

// final reports whether trying the same again is useless. A rejection with the hint when to try again is not.
func final(err error) bool {
	_, template := errors.AsType[*TemplateError](err)
	_, later := errors.AsType[*sdk.RetryError](err)
	return template || errors.Is(err, sdk.ErrRejected) && !later
}
