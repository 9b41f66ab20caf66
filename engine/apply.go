package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// maxNotes bounds how many notes of a template, and how many exclusions in a history entry, are kept, because a source could
// produce any number of them.
const maxNotes = 100

// applyUnlessInSync gives r the next generation if its document is a new one, and applies it as [pipeline.apply] does. If the
// sink has the document already, there is no attempt.
func (p *pipeline) applyUnlessInSync(
	ctx context.Context, r *rendered, notes []string, explain func(context.Context, error) error,
) (*Attempt, error) {
	s := &p.state
	p.reportNotes(notes)
	digest := r.document.Digest
	if p.isInSync(digest) {
		r.document = s.applied.document
		return nil, nil
	}
	if digest != s.digest {
		s.generation, s.digest = p.history.Next(), digest
		r.isNew = true
	}
	r.document.Generation = s.generation
	attempt := p.apply(ctx, r, notes, explain)
	return attempt, attempt.Err
}

func (p *pipeline) isInSync(digest string) bool {
	return p.state.inSync && p.state.applied.document.Digest == digest
}

// apply passes the document of r to the sink and adds the outcome to the history. explain adds to a rejection which lines of the
// template it is about. The caller passes the result to observe, unless the document is applied again in another form.
func (p *pipeline) apply(
	ctx context.Context, r *rendered, notes []string, explain func(context.Context, error) error,
) *Attempt {
	s := &p.state
	doc := r.document
	doc.Retry, doc.Watched = s.loads.due(), p.inputsID()
	if r.version != nil {
		doc.LoadFailure = r.version.loadFailure
	}
	attempt := &Attempt{
		Pipeline: p.name, Generation: doc.Generation, Digest: doc.Digest, Trigger: s.cause.Trigger, Received: s.cause.at,
		Started: time.Now(), Notes: notes, rendered: s.rendering,
	}
	s.rendering = rendering{}
	superseded := p.callSink(ctx, r, func(ctx context.Context) (err error) {
		if p.tracer != nil {
			ctx = p.tracer.Applying(ctx, p.name, doc, attempt.Received)
		}
		attempt.Result, attempt.Err = p.sink.Apply(ctx, doc)
		return attempt.Err
	})
	defer p.publish()
	attempt.Took = time.Since(attempt.Started)
	if ctx.Err() != nil {
		s.inSync = false // the document may be live, or a part of it
		attempt.Err = fmt.Errorf("interrupted, because the pipeline was stopped: %w", context.Cause(ctx))
		p.recordAttempt(attempt, r)
		return attempt
	}
	if exclude.IsRejected(attempt.Err) {
		attempt.Err = explain(ctx, attempt.Err)
	}
	if superseded {
		s.inSync = false
		attempt.Err = &supersededError{attempt.Took, attempt.Err}
	}
	if attempt.Err == nil {
		p.history.PutDocument(doc) // before the entry, so that a reader of the entry finds it
	}
	p.recordAttempt(attempt, r)
	if attempt.Err == nil {
		s.inputs.recordApply(attempt.Result)
		again := s.status.Digest == doc.Digest
		s.status.Since = p.inEffectSince(doc.Digest)
		s.status.Generation, s.status.Digest = doc.Generation, doc.Digest
		p.appliedLog.add(doc.Generation, again, attempt)
	}
	return attempt
}

// callSink calls f, which may be cancelled in favour of a newer event than r, and publishes that the sink is busy. It reports
// whether f was cancelled and failed.
func (p *pipeline) callSink(ctx context.Context, r *rendered, f func(context.Context) error) (superseded bool) {
	p.state.status.Applying = time.Now()
	p.publish()
	ctx, release := p.untilSuperseded(ctx, r)
	err := f(ctx)
	cancelled := release()
	p.state.status.Applying = time.Time{}
	if cancelled && err != nil {
		p.state.applyTimeout = min(2*p.state.applyTimeout, maxSupersedeAfter)
		return true
	}
	return false
}

// observe passes attempt, which may be nil, to the observer. A rejection is not passed to it if the rest of the document was
// applied: that is not a failure.
func (p *pipeline) observe(ctx context.Context, attempt *Attempt) {
	if attempt != nil && ctx.Err() == nil {
		p.observer.Applied(*attempt)
	}
}

// recordOutcome records what became of r, which was not rejected.
func (p *pipeline) recordOutcome(r *rendered, err error) {
	s := &p.state
	if after, ok := deferral(err); ok {
		s.pending = &pendingApply{rendered: r, reason: err.Error(), due: time.Now().Add(after)}
	}
	if isNotLoaded(err) && s.pending != nil && s.pending.document.Digest == r.document.Digest {
		s.pending = nil
	}
	switch {
	case err == nil:
		p.recordApplied(r)
	case s.active == nil || s.active == r.version:
		p.reportExcluded(r.excluded)
	}
}

// recordApplied records that the sink has r.
func (p *pipeline) recordApplied(r *rendered) {
	p.state.applied, p.state.inSync, p.state.pending = r, true, nil
	p.source.store.SaveAppliedDocument(p.name, AppliedDocument{p.sinkType, r.document, r.excluded})
	p.reportExcluded(r.excluded)
}

// reportFault logs that the newest document could not be applied, unless that error was logged already.
func (p *pipeline) reportFault(err error, args ...any) {
	message := "apply failed; keeping the previous configuration"
	if p.state.applied == nil {
		message = "apply failed; no configuration has been applied yet"
	}
	p.state.fault.Error(p.log, message, err, args...)
}

// clearFault records that the newest document has no fault, and logs the recovery if it had one.
func (p *pipeline) clearFault() {
	p.state.status.ApplyError = nil
	p.state.fault.Resolve(p.log, "documents are applied again")
}

// reportNotes logs the notes that the previous rendering did not have.
func (p *pipeline) reportNotes(notes []string) {
	before := p.state.status.Notes
	p.state.status.Notes = notes
	p.reportTexts(slog.LevelWarn, "note from the template", before, notes)
	p.reportTexts(slog.LevelInfo, "note from the template is over", notes, before)
}

// reportTexts logs message for each of the texts in now that before lacks.
func (p *pipeline) reportTexts(level slog.Level, message string, before, now []string) {
	logEach(p.log, level, message, added(before, now, func(text string) string { return text }),
		func(text string) []any { return []any{"detail", text} })
}

// reportExcluded logs what is excluded from now on, and what no longer is.
func (p *pipeline) reportExcluded(now []exclude.Exclusion) {
	before := p.state.status.Excluded
	p.state.status.Excluded = now
	owner := func(e exclude.Exclusion) exclude.Exclusion {
		e.Reason = ""
		return e
	}
	attrs := func(e exclude.Exclusion) []any {
		attrs := []any{"service", e.Service}
		if !e.WholeService() {
			attrs = append(attrs, "instance", e.ID, "hostname", e.Hostname)
		}
		return attrs
	}
	logEach(p.log, slog.LevelWarn, "excluded, so that the rest can go live", added(before, now, owner),
		func(e exclude.Exclusion) []any { return append(attrs(e), "reason", e.Reason) })
	logEach(p.log, slog.LevelInfo, "no longer excluded", added(now, before, owner), attrs)
}

// firstNotes returns at most maxNotes notes and how many more there are.
func firstNotes(notes []string) []string {
	if len(notes) <= maxNotes {
		return notes
	}
	return append(slices.Clone(notes[:maxNotes]), fmt.Sprintf("and %d more", len(notes)-maxNotes))
}

// firstExclusions returns a copy of the first maxNotes exclusions if there are more, so that a history entry does not keep
// the others.
func firstExclusions(all []exclude.Exclusion) []exclude.Exclusion {
	if len(all) <= maxNotes {
		return all
	}
	return slices.Clone(all[:maxNotes])
}

// isFinal reports whether applying the same document again is useless, because the template or the sink rejects it and does
// not say when to retry.
func isFinal(err error) bool {
	_, template := errors.AsType[*TemplateError](err)
	return template || exclude.IsFinal(err)
}

// isNotLoaded reports whether the sink failed to load the document: each attempt interrupts what the sink manages.
func isNotLoaded(err error) bool {
	return errors.Is(err, sdk.ErrNotLoaded)
}
