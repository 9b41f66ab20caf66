package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
)

const (
	// supersedeAfter is how long an Apply may take while a newer event waits. Otherwise a slow reload could be cancelled and
	// started again forever.
	supersedeAfter = time.Minute
	// maxSupersedeAfter bounds that time, which doubles with each consecutive cancelled Apply, so that a slow sink finishes
	// although newer events keep arriving.
	maxSupersedeAfter = 16 * time.Minute
	// supersedeInterval is how often an Apply that takes longer is checked.
	supersedeInterval = time.Second
)

// errSuperseded is the cause with which an Apply is cancelled although its pipeline goes on.
var errSuperseded = errors.New("cancelled in favour of something newer")

// A supersededError is the outcome of an Apply that was cancelled in favour of something newer.
type supersededError struct {
	took time.Duration
	err  error // the sink's
}

func (e *supersededError) Error() string {
	return fmt.Sprintf("%v after %s: %v", errSuperseded, e.took.Round(time.Second), e.err)
}

func (e *supersededError) Unwrap() error { return e.err }

// untilSuperseded returns a context for applying r. It is cancelled once that takes longer than the pipeline's timeout and
// something newer waits. The caller must call release in the end, which reports whether the context was cancelled for that
// reason.
func (p *pipeline) untilSuperseded(ctx context.Context, r *rendered) (_ context.Context, release func() bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := p.state.applyTimeout
	var watching sync.WaitGroup
	watching.Go(func() {
		if p.waitForNewer(ctx, r, timeout) {
			p.log.Warn("apply cancelled: the sink has not finished, and something newer waits",
				"generation", r.document.Generation, "took", timeout)
			cancel(errSuperseded)
		}
	})
	return ctx, func() bool {
		cancel(nil)
		watching.Wait()
		return errors.Is(context.Cause(ctx), errSuperseded)
	}
}

// waitForNewer returns true once the timeout is over and something newer than r waits, and false when ctx is done.
func (p *pipeline) waitForNewer(ctx context.Context, r *rendered, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
		if p.isSuperseded(r) {
			return true
		}
		timer.Reset(supersedeInterval)
	}
}

// isSuperseded reports whether something waits that r does not take into account. It leaves what waits to the pipeline's
// goroutine.
func (p *pipeline) isSuperseded(r *rendered) bool {
	if len(p.requested.ready) > 0 || len(p.edited.ready) > 0 {
		return true
	}
	newest, ok := p.snapshots.latest()
	return ok && len(p.snapshots.ready) > 0 && !snapshots.Equal(newest.Snapshot, r.snapshot)
}
