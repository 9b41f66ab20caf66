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

// A debt is a document that the sink put off.
type debt struct {
	*effect
	reason string
	due    time.Time
}

// leastDeferral keeps a sink that wants to be asked again at once from being asked all the time.
const leastDeferral = 10 * time.Millisecond

// wait notes that the sink put the newest document off. What is in effect then is neither that one nor the one before, so
// whatever comes next has to reach the sink.
func (p *pipeline) wait(deferred *sdk.DeferredError) time.Duration {
	after := max(deferred.After, leastDeferral)
	p.inEffect = nil
	p.pace.Reset()
	p.board.setApplyError(nil)
	p.board.setWaiting(&Waiting{deferred.Reason, time.Now().Add(after)})
	p.log.Info("the sink puts the configuration off", "reason", deferred.Reason, "again_in", after)
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
	err := p.apply(ctx, d.effect, nil)
	deferred, again := errors.AsType[*sdk.DeferredError](err)
	switch {
	case err == nil:
		p.settle(d.effect)
		return false
	case errors.Is(err, sdk.ErrRejected), isNotLoaded(err):
		p.owed = nil
		return false
	case again:
		d.reason, d.due = deferred.Reason, time.Now().Add(max(deferred.After, leastDeferral))
	default:
		d.reason, d.due = err.Error(), time.Now().Add(p.pace.NextBackOff())
	}
	return true
}
