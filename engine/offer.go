package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
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

	blamed           bool        // it was said that this version is not used
	excluded         exclude.Set // what it is rendered without
	allowedConflicts exclude.AllowedConflicts
}

func newVersion(t Template) *version {
	return &version{template: t, allowedConflicts: exclude.AllowedConflicts{}}
}

// effect is what the sink has made live.
type effect struct {
	version  *version
	snapshot sdk.Snapshot
	document sdk.Document
	excluded []exclude.Exclusion // from the snapshot
}

// offer renders snap with v and gives the document to the sink, unless it is in effect already. Where an iteration of the
// template fails, where two owners claim one thing, and where the sink rejects the document and tells whose fault that is, the
// others go live without those.
func (p *pipeline) offer(ctx context.Context, v *version, snap sdk.Snapshot) error {
	index := exclude.NewIndex(snap)
	excluded := v.excluded.Current(index)
	if e := p.inEffect; e != nil && e.version == v && snapshots.Equal(snap, e.snapshot) && len(excluded) == len(v.excluded) {
		return nil
	}
	var last *effect
	var entry *Entry
	pass := p.newPass(v, index)
	pass.Apply = func(ctx context.Context, r *exclude.Rendering) (err error) {
		last = &effect{v, snap, r.Document, r.Excluded.List()}
		entry, err = p.present(ctx, last, r.Notes)
		return err
	}
	r, err := pass.RenderExcluding(ctx, excluded)
	if err != nil {
		return err
	}
	first := r.Document.Digest
	if v.refused == first && !p.isInEffect(first) && (!isNotLoaded(v.refusal) || !p.loads.due()) {
		p.tell(r.Notes)
		return v.refusal
	}
	err = pass.Apply(ctx, r)
	if exclude.IsRejected(err) {
		var next exclude.Set
		if r, next, err = pass.ExcludeRejected(ctx, r, err); next != nil {
			v.excluded = next
			p.pace.Reset()
		}
	}
	p.observe(ctx, entry)
	switch {
	case ctx.Err() != nil:
		return err
	case exclude.IsRejected(err):
		if final(err) {
			v.refused, v.refusal = first, err
		}
		return err
	case isNotLoaded(err):
		v.refused, v.refusal, v.loadFailure = first, err, err.Error()
	case err == nil:
		v.loadFailure = ""
	}
	v.excluded = r.Excluded
	p.conclude(last, err)
	return err
}

func (p *pipeline) newPass(v *version, index *exclude.Index) *exclude.Pass {
	pass := &exclude.Pass{
		Index: index, Conflicts: p.conflicts, AllowedConflicts: v.allowedConflicts,
		Render: func(ctx context.Context, snap sdk.Snapshot) (sdk.Document, []string, error) {
			return p.render(ctx, v.template, snap)
		},
		MayExclude: func(excluded exclude.Set, temporary bool) bool { return p.mayExclude(v, index, excluded, temporary) },
	}
	pass.SourceMapper, _ = v.template.(exclude.SourceMapper)
	if a := p.accepted; a != nil {
		pass.Applied = &exclude.Applied{Snapshot: a.snapshot, Excluded: a.excluded}
	}
	return pass
}

// mayExclude reports whether v may be rendered without excluded. A candidate may exclude only what the active version excludes as
// well: everything else is live with the active one, so the candidate is at fault. The first version of a run may have been edited
// while the daemon was down: it must not exclude more of what an earlier run had applied than the source may lose, unless the
// reason may be over soon.
func (p *pipeline) mayExclude(v *version, index *exclude.Index, excluded exclude.Set, temporary bool) bool {
	switch {
	case p.active == v || p.active == nil && temporary:
		return true
	case p.active != nil:
		return excluded.IsSubsetOf(p.active.excluded.Current(index))
	case p.accepted != nil:
		applied := exclude.Applied{Snapshot: p.accepted.snapshot, Excluded: p.accepted.excluded}
		return !p.source.lacksTooMuch(applied.Survivors(index, excluded))
	}
	return true
}

// render makes the document of snap.
func (p *pipeline) render(ctx context.Context, t Template, snap sdk.Snapshot) (sdk.Document, []string, error) {
	began := time.Now()
	files, notes, err := t.Render(ctx, snap)
	p.observer.Rendered(p.name, time.Since(began), err)
	if err != nil {
		return sdk.Document{}, nil, &TemplateError{err}
	}
	return sdk.Document{Pipeline: p.name, Digest: sdk.DigestOf(files), Files: files}, firstOf(notes), nil
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

// firstExcluded returns as many as an entry keeps.
func firstExcluded(all []exclude.Exclusion) []exclude.Exclusion {
	if len(all) <= maxNotes {
		return all
	}
	return slices.Clone(all[:maxNotes]) // the others are not held on to
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
		p.reportExcluded(e.excluded)
	}
}

// present gives the document of e to the sink and returns what became of it. Where it is in effect already there is no entry.
func (p *pipeline) present(ctx context.Context, e *effect, notes []string) (*Entry, error) {
	p.tell(notes)
	digest := e.document.Digest
	if p.isInEffect(digest) {
		e.document = p.inEffect.document
		return nil, nil
	}
	if digest != p.digest {
		p.generation, p.digest = p.generation+1, digest
	}
	e.document.Generation = p.generation
	entry := p.apply(ctx, e, notes)
	return entry, entry.Err
}

func (p *pipeline) isInEffect(digest string) bool {
	return p.inEffect != nil && p.inEffect.document.Digest == digest
}

func (p *pipeline) settle(e *effect) {
	p.inEffect, p.accepted, p.owed = e, e, nil
	p.source.store.SaveAppliedDocument(p.name, AppliedDocument{p.sinkType, e.document, e.excluded})
	p.reportExcluded(e.excluded)
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
		Last: e.snapshot.Last, Notes: notes, Excluded: firstExcluded(e.excluded), Received: e.snapshot.Taken, Offered: time.Now(),
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

// reportExcluded logs what is excluded from now on, and what no longer is, up to a bound.
func (p *pipeline) reportExcluded(now []exclude.Exclusion) {
	before := p.board.setExcluded(now)
	p.logExclusions(slog.LevelWarn, "excluded, so that the rest can go live", newIn(now, before))
	p.logExclusions(slog.LevelInfo, "no longer excluded", newIn(before, now))
}

func (p *pipeline) logExclusions(level slog.Level, message string, list []exclude.Exclusion) {
	for _, e := range list[:min(len(list), toldAtOnce)] {
		fields := []any{"service", e.Service}
		if !e.WholeService() {
			fields = append(fields, "instance", e.ID, "hostname", e.Hostname)
		}
		if level == slog.LevelWarn {
			fields = append(fields, "reason", e.Reason)
		}
		p.log.Log(context.Background(), level, message, fields...)
	}
	if more := len(list) - toldAtOnce; more > 0 {
		p.log.Log(context.Background(), level, message, "and_more", more)
	}
}

// newIn returns the exclusions in now of services and instances that before does not have, whatever the reasons.
func newIn(now, before []exclude.Exclusion) []exclude.Exclusion {
	known := make(map[exclude.Exclusion]bool, len(before))
	for _, e := range before {
		e.Reason = ""
		known[e] = true
	}
	var added []exclude.Exclusion
	for _, e := range now {
		reason := e.Reason
		e.Reason = ""
		if !known[e] {
			e.Reason = reason
			added = append(added, e)
		}
	}
	return added
}

// A TemplateError says that a template could not render a snapshot.
type TemplateError struct{ Err error }

func (e *TemplateError) Error() string { return e.Err.Error() }

// Unwrap returns the renderer's own error.
func (e *TemplateError) Unwrap() error { return e.Err }

// final reports whether trying the same again is useless. A rejection with the hint when to try again is not.
func final(err error) bool {
	_, template := errors.AsType[*TemplateError](err)
	return template || exclude.IsFinal(err)
}
