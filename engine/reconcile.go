package engine

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// candidateRetry is the least time between two attempts with a candidate that the sink failed to apply but did not reject: each
// may disturb what the sink manages.
const candidateRetry = 30 * time.Second

// reconcile handles an event, then brings the sink in sync: it applies the newest snapshot, retries what is pending, and rereads
// files when that is due. It returns when to run again if no other event arrives.
func (p *pipeline) reconcile(ctx context.Context, e event) schedule {
	p.handle(ctx, e)
	var next schedule
	if newest, ok := p.snapshots.latest(); ok {
		if e.Kind == history.TriggerRetry && newest.cause != p.state.reconciled {
			p.state.cause = newest.cause // the snapshot arrived at the same time
		}
		p.state.reconciled = newest.cause
		next = p.reconcileSnapshot(ctx, newest.Snapshot)
	} else {
		next = p.reconcilePending(ctx)
	}
	next = next.earlier(p.rereadPending(ctx))
	p.recordSuccess()
	p.supersedeOthers()
	return next
}

// recordSuccess records the time if the sink is in sync.
func (p *pipeline) recordSuccess() {
	if p.state.isSettled() {
		p.state.status.LastSuccess = time.Now()
	}
}

// handle updates the state for the event and publishes the status. It applies documents only if the sink may have lost them.
func (p *pipeline) handle(ctx context.Context, e event) {
	s := &p.state
	s.cause = e.cause
	switch e.Kind {
	case history.TriggerSave:
		s.loads.requested = true // the edit may remove the reason why a document failed to load
		p.loadTemplate()
	case history.TriggerConfig:
		if _, ok := p.snapshots.latest(); !ok && !s.inSync {
			p.reapplyAll(ctx)
		}
	case history.TriggerRestart:
		p.reapplyAll(ctx)
	case history.TriggerLost:
		p.handleLost(e.lost)
	case history.TriggerRequest:
		p.retryEverything()
		s.inSync = false
	case history.TriggerInputs:
		p.updateInputs()
		p.retryEverything()
	case history.TriggerReread:
		p.scheduleReread(e.cause)
	}
	p.publish() // rendering may take long
}

// reconcileSnapshot brings the sink in sync with snap.
func (p *pipeline) reconcileSnapshot(ctx context.Context, snap sdk.Snapshot) schedule {
	s := &p.state
	err := p.applySnapshot(ctx, snap)
	if ctx.Err() != nil {
		return schedule{}
	}
	if after, ok := deferral(err); ok {
		return in(p.recordDeferred(err, after))
	}
	s.status.Pending = nil
	s.loads.requested = false
	_, candidateFailed := errors.AsType[*CandidateFailedError](err)
	switch {
	case err == nil:
		s.retries.Reset()
		s.loads.reset()
		s.applyTimeout = supersedeAfter
		p.clearFault()
		return exclusionRetry(s.active)
	case candidateFailed:
		p.clearFault()
		return in(max(s.retries.NextBackOff(), candidateRetry)).earlier(exclusionRetry(s.active))
	}
	s.status.ApplyError = err
	p.applyRestored(ctx)
	switch {
	case isNotLoaded(err):
		retry := p.scheduleLoad(err)
		return retry.earlier(p.applyPending(ctx))
	case isFinal(err):
		p.reportFault(err)
		return p.applyPending(ctx)
	}
	wait := s.retries.NextBackOff()
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		wait = max(wait, hint.After)
	}
	p.reportFault(err, "retry_in", wait.Round(time.Millisecond))
	return in(wait)
}

// applySnapshot renders snap with the candidate and applies the document. The candidate becomes active if that succeeds. If it
// fails for whatever reason, the active template is used, so that a broken template does not hold up the source. The candidate is
// tried again with the next snapshot, with the next edit, and when the reason may be over, unless each attempt costs too much.
func (p *pipeline) applySnapshot(ctx context.Context, snap sdk.Snapshot) error {
	s := &p.state
	if s.candidate == nil {
		return p.applyWithActive(ctx, snap)
	}
	err := p.applyWith(ctx, s.candidate, snap)
	switch {
	case err == nil:
		p.promoteCandidate()
		p.recordSuccess()
		p.publish() // finding the nondeterministic lines may take long
		p.reportNondeterminism(ctx, s.active.template, snap)
		return nil
	case s.active == nil || errors.Is(err, sdk.ErrDeferred) || ctx.Err() != nil:
		if isFinal(err) && ctx.Err() == nil {
			p.observeRefusal(s.candidate)
		}
		return err
	}
	abandoned := exclude.IsEndless(err) || isNotLoaded(err)
	if !abandoned && !isFinal(err) {
		err = &CandidateFailedError{err}
	}
	p.reportTemplateError(s.candidate, err)
	p.publish() // rendering with the active template may take long
	if abandoned {
		// Each attempt holds up the source or interrupts what the sink manages. Saving the template again makes another
		// candidate, and so does a request.
		s.candidate, s.candidateAbandoned = nil, true
	}
	if activeErr := p.applyWith(ctx, s.active, snap); activeErr != nil || s.candidate == nil || isFinal(err) {
		return activeErr
	}
	return err
}

// applyWithActive is applySnapshot without a candidate.
func (p *pipeline) applyWithActive(ctx context.Context, snap sdk.Snapshot) error {
	if p.state.active == nil {
		return &TemplateError{errors.New("no template can be used: fix the template and save it")}
	}
	err := p.applyWith(ctx, p.state.active, snap)
	if _, ok := errors.AsType[*TemplateError](err); ok && ctx.Err() == nil {
		p.observeRefusal(p.state.active)
	}
	if err != nil && !isFinal(err) {
		// The sink kept the previous document, but do not rely on that: if the same document is wanted again, it is applied
		// again.
		p.state.inSync = false
	}
	return err
}

// A CandidateFailedError says that the document of the saved template could not be applied for a reason that may be over soon.
// The template is tried again by itself. Meanwhile the active template is used.
type CandidateFailedError struct{ Err error }

func (e *CandidateFailedError) Error() string { return e.Err.Error() }

// Unwrap returns why the document could not be applied.
func (e *CandidateFailedError) Unwrap() error { return e.Err }

// applyWith renders snap with v and applies the document, unless it is applied already. Instances that the document cannot be
// applied with are excluded.
func (p *pipeline) applyWith(ctx context.Context, v *version, snap sdk.Snapshot) error {
	s := &p.state
	index := exclude.NewIndex(snap)
	excluded := v.excluded.Current(index)
	if s.inSync && s.applied.version == v && snapshots.Equal(snap, s.applied.snapshot) && len(excluded) == len(v.excluded) {
		return nil
	}
	var (
		last    *rendered
		attempt *Attempt
	)
	pass := p.newPass(v, index)
	pass.Apply = func(ctx context.Context, r *exclude.Rendering) (err error) {
		last = &rendered{version: v, snapshot: snap, document: r.Document, excluded: r.Excluded.List()}
		attempt, err = p.applyUnlessInSync(ctx, last, r.Notes, func(ctx context.Context, err error) error {
			return pass.Explain(ctx, r, err)
		})
		return err
	}
	r, err := pass.RenderExcluding(ctx, excluded)
	if err != nil {
		return err
	}
	digest := r.Document.Digest
	if v.rejected == digest && !p.isInSync(digest) && (!isNotLoaded(v.rejection) || !s.loads.due()) {
		p.reportNotes(r.Notes)
		return v.rejection
	}
	if err = pass.Apply(ctx, r); exclude.IsRejected(err) {
		var next exclude.Set
		if r, next, err = pass.ExcludeRejected(ctx, r, err); next != nil {
			v.excluded = next
			s.retries.Reset()
		}
	}
	p.observe(ctx, attempt)
	switch {
	case ctx.Err() != nil:
		return err
	case exclude.IsRejected(err):
		if isFinal(err) {
			v.rejected, v.rejection = digest, err
		}
		return err
	case isNotLoaded(err):
		v.rejected, v.rejection, v.loadFailure = digest, err, err.Error()
	case err == nil:
		v.loadFailure = ""
	}
	v.excluded = r.Excluded
	p.recordOutcome(last, err)
	return err
}

// explain adds the origins of rejected lines to the text of err, with which the sink rejected the document of r.
func (r *rendered) explain(ctx context.Context, err error) error {
	if r.version == nil {
		return err
	}
	snap := exclude.NewSet(r.excluded).Filter(r.snapshot)
	return exclude.Explain(ctx, r.version.template, snap, r.document.Files, err)
}

// newPass returns a pass for v without Apply.
func (p *pipeline) newPass(v *version, index *exclude.Index) *exclude.Pass {
	pass := &exclude.Pass{
		Index: index, Conflicts: p.conflicts, AllowedConflicts: v.allowedConflicts, Applied: p.state.applied.forExclusion(),
		Render: func(ctx context.Context, snap sdk.Snapshot) (sdk.Document, []string, error) {
			return p.render(ctx, v.template, snap)
		},
		MayExclude: func(excluded exclude.Set, temporary bool) bool { return p.mayExclude(v, index, excluded, temporary) },
	}
	pass.SourceMapper, _ = v.template.(exclude.SourceMapper)
	return pass
}

// forExclusion returns what package exclude needs to know about r. r may be nil if no document is applied.
func (r *rendered) forExclusion() *exclude.Applied {
	if r == nil {
		return nil
	}
	return &exclude.Applied{Snapshot: r.snapshot, Excluded: r.excluded}
}

// render returns the document of snap, without a generation.
func (p *pipeline) render(ctx context.Context, t Template, snap sdk.Snapshot) (sdk.Document, []string, error) {
	began := time.Now()
	files, notes, err := t.Render(ctx, snap)
	p.state.rendering = rendering{began, time.Since(began)}
	p.observer.Rendered(p.name, p.state.rendering.took, err)
	if err != nil {
		return sdk.Document{}, nil, &TemplateError{err}
	}
	return sdk.Document{Pipeline: p.name, Digest: sdk.DigestOf(files), Files: files}, firstNotes(notes), nil
}

// mayExclude reports whether v may be rendered without excluded. A candidate may exclude only what the active version
// excludes as well: everything else is live with the active one, so the candidate is at fault. The first version of a run may
// have been edited while the daemon was down: it must not exclude more previously applied instances than the guard lets the
// source lose, unless the reason may be over soon.
func (p *pipeline) mayExclude(v *version, index *exclude.Index, excluded exclude.Set, temporary bool) bool {
	s := &p.state
	switch {
	case s.active == v || s.active == nil && temporary:
		return true
	case s.active != nil:
		return excluded.IsSubsetOf(s.active.excluded.Current(index))
	case s.applied != nil:
		return !p.source.wouldHold(s.applied.forExclusion().Survivors(index, excluded))
	}
	return true
}

// exclusionRetry returns when the first exclusion of v ends.
func exclusionRetry(v *version) schedule {
	wait, ok := v.excluded.RetryIn()
	return schedule{wait, ok}
}

// retryEverything makes the next attempts due, also of what failed to load and of an abandoned candidate.
func (p *pipeline) retryEverything() {
	p.state.loads.requested = true
	p.scheduleReread(p.state.cause)
	if p.state.candidateAbandoned {
		p.loadTemplate()
	}
}
