package engine

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Pending says why a document is not applied yet, and when it is applied if no newer one replaces it. It need not be a failure.
type Pending struct {
	Reason string
	Until  time.Time
}

// A pendingApply is a document that the sink deferred, or a previously applied one that it must apply again.
type pendingApply struct {
	*rendered
	reason string
	err    error // of the last attempt; nil if the sink deferred the document
	due    time.Time
}

// minDeferral is the least time after which a document that the sink deferred is passed to it again.
const minDeferral = 10 * time.Millisecond

// deferral reports whether err is an [sdk.ErrDeferred], and returns the time after which to try again.
func deferral(err error) (after time.Duration, ok bool) {
	if !errors.Is(err, sdk.ErrDeferred) {
		return 0, false
	}
	if retry, ok := errors.AsType[*sdk.RetryError](err); ok {
		after = retry.After
	}
	return max(after, minDeferral), true
}

// recordDeferred records that the sink deferred the newest document with err, and returns when to try again. The sink may
// have applied a part of the document, so it is not in sync with any.
func (p *pipeline) recordDeferred(err error, after time.Duration) time.Duration {
	s := &p.state
	s.inSync = false
	s.retries.Reset()
	s.status.ApplyError = nil
	if s.status.Pending == nil { // newer documents are deferred together with the first one
		p.log.Info("apply deferred by the sink", "reason", err, "retry_in", after.Round(time.Millisecond))
	}
	s.status.Pending = &Pending{err.Error(), time.Now().Add(after)}
	return after
}

// applyPending applies the pending document if it is due. Usually a newer document replaces it; applyPending is for the time
// in which no newer document can be rendered, or the sink accepts none. It returns when the document is due again.
func (p *pipeline) applyPending(ctx context.Context) schedule {
	s := &p.state
	if s.pending == nil {
		return schedule{}
	}
	if !time.Now().Before(s.pending.due) {
		r := s.pending.rendered
		entry := p.apply(ctx, r, nil, r.explain)
		p.observe(ctx, entry)
		switch {
		case entry.Err == nil:
			p.recordApplied(r)
		case ctx.Err() == nil:
			p.setPending(r, entry.Err)
		}
	}
	if s.pending == nil {
		return schedule{}
	}
	s.status.Pending = &Pending{s.pending.reason, s.pending.due}
	return in(time.Until(s.pending.due))
}

// reconcilePending applies what is pending while there is no snapshot to render.
func (p *pipeline) reconcilePending(ctx context.Context) schedule {
	s := &p.state
	before := s.pending
	next := p.applyPending(ctx)
	switch {
	case s.pending != nil:
		s.status.ApplyError = s.pending.err
	case before != nil && s.inSync:
		s.status.Pending = nil
		s.retries.Reset()
		p.clearFault()
	}
	return next
}

// setPending makes r pending, which the sink failed to apply with err. Nothing is pending if another attempt is useless or would
// interrupt what the sink manages.
func (p *pipeline) setPending(r *rendered, err error) {
	s := &p.state
	s.pending = nil
	if isFinal(err) || isNotLoaded(err) {
		return
	}
	if after, ok := deferral(err); ok {
		s.pending = &pendingApply{rendered: r, reason: err.Error(), due: time.Now().Add(after)}
		return
	}
	s.pending = &pendingApply{rendered: r, reason: err.Error(), err: err, due: time.Now().Add(s.retries.NextBackOff())}
}

// reapply applies the last applied document again, makes it pending if that fails, and reports whether it succeeded.
func (p *pipeline) reapply(ctx context.Context) bool {
	s := &p.state
	err := p.applyAgain(ctx)
	if err == nil || ctx.Err() != nil {
		return err == nil
	}
	p.setPending(s.applied, err)
	s.status.ApplyError = nil
	if !errors.Is(err, sdk.ErrDeferred) {
		s.status.ApplyError = err
		p.reportFault(err)
	}
	return false
}

// applyAgain applies the last applied document again.
func (p *pipeline) applyAgain(ctx context.Context) error {
	s := &p.state
	entry := p.apply(ctx, s.applied, nil, s.applied.explain)
	p.observe(ctx, entry)
	if entry.Err != nil {
		return entry.Err
	}
	s.inSync = true
	if s.pending != nil && s.pending.rendered == s.applied {
		s.pending = nil
	}
	return nil
}

// reapplyAll applies the last applied document to a sink that was restarted. The sink may now accept what it rejected previously.
func (p *pipeline) reapplyAll(ctx context.Context) {
	p.state.inSync = false
	excluded := p.forgetRejections()
	if p.state.applied != nil && p.reapply(ctx) && excluded {
		p.state.inSync = false // the newest document may be accepted with everything that is excluded from the last one
	}
}
