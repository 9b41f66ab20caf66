package engine

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Waiting says that a sink put a document off: nothing is wrong, and it is offered again, or a newer one.
type Waiting struct {
	Reason string
	Until  time.Time
}

// A debt is a pending document: one that the sink deferred, or one that it applied before and has to be given again.
type debt struct {
	*effect
	reason string
	err    error // why the last try failed; nil where the sink put it off
	due    time.Time
}

// leastDeferral keeps a sink that wants to be asked again at once from being asked all the time.
const leastDeferral = 10 * time.Millisecond

// deferredFor returns the time after which to try again what err, an [sdk.ErrDeferred], defers.
func deferredFor(err error) time.Duration {
	if retry, ok := errors.AsType[*sdk.RetryError](err); ok {
		return max(retry.After, leastDeferral)
	}
	return leastDeferral
}

// wait notes that the sink put the newest document off. What is in effect then is neither that one nor the one before, so
// whatever comes next has to reach the sink.
func (p *pipeline) wait(deferred error) time.Duration {
	after := deferredFor(deferred)
	p.inEffect = nil
	p.pace.Reset()
	p.board.setApplyError(nil)
	p.board.setWaiting(&Waiting{deferred.Error(), time.Now().Add(after)})
	p.log.Info("the sink puts the configuration off", "reason", deferred, "again_in", after)
	return after
}

// redeem offers again what the sink put off, once it is due. Usually a newer document does instead; this is for the time when
// none can be made, or none that the sink takes.
func (p *pipeline) redeem(ctx context.Context) (again time.Duration, owed bool) {
	if p.owed == nil {
		return 0, false
	}
	if time.Now().Before(p.owed.due) || p.pay(ctx, p.owed) {
		p.board.setWaiting(&Waiting{p.owed.reason, p.owed.due})
		return time.Until(p.owed.due), true
	}
	return 0, false
}

// pay offers what is owed and reports whether it still is.
func (p *pipeline) pay(ctx context.Context, d *debt) bool {
	entry := p.apply(ctx, d.effect, nil)
	p.observe(ctx, entry)
	err := entry.Err
	switch {
	case err == nil:
		p.settle(d.effect)
		return false
	case ctx.Err() != nil:
		return true // as it was
	}
	return p.postpone(d.effect, err)
}

// postpone notes that e has to be given to the sink again, after it failed with err, and returns whether that may help.
func (p *pipeline) postpone(e *effect, err error) bool {
	if final(err) || isNotLoaded(err) {
		p.owed = nil
		return false
	}
	p.owed = &debt{effect: e, reason: err.Error(), err: err, due: time.Now().Add(p.pace.NextBackOff())}
	if errors.Is(err, sdk.ErrDeferred) {
		p.owed = &debt{effect: e, reason: err.Error(), due: time.Now().Add(deferredFor(err))}
	}
	return true
}

// reapply gives the sink again what it took last, and reports whether it took it. Where it failed, the document is pending.
func (p *pipeline) reapply(ctx context.Context) bool {
	err := p.applyAccepted(ctx)
	switch {
	case err == nil:
		return true
	case ctx.Err() == nil:
		p.postpone(p.accepted, err)
		p.board.setApplyError(unlessDeferred(err))
		if unlessDeferred(err) != nil {
			p.reportFault(err)
		}
	}
	return false
}

// applyAccepted gives the sink again what it took last.
func (p *pipeline) applyAccepted(ctx context.Context) error {
	entry := p.apply(ctx, p.accepted, nil)
	p.observe(ctx, entry)
	if entry.Err != nil {
		return entry.Err
	}
	p.inEffect = p.accepted
	if p.owed != nil && p.owed.effect == p.accepted {
		p.owed = nil
	}
	return nil
}

// reapplyPending tries what is pending while there is no snapshot to render.
func (p *pipeline) reapplyPending(ctx context.Context) (time.Duration, bool) {
	before := p.owed
	wait, again := p.redeem(ctx)
	switch {
	case p.owed != nil:
		p.board.setApplyError(p.owed.err)
	case before != nil && p.inEffect != nil:
		p.board.setApplyError(nil)
		p.board.setWaiting(nil)
		p.pace.Reset()
		p.faultOver()
	}
	return wait, again
}

// unlessDeferred returns err, and nil where the sink has put the document off and nothing is wrong.
func unlessDeferred(err error) error {
	if errors.Is(err, sdk.ErrDeferred) {
		return nil
	}
	return err
}
