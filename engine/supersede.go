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
	// supersedeAfter is how long an Apply goes on, whatever comes meanwhile: breaking off a slow reload and beginning again would
	// make it an endless one.
	supersedeAfter = time.Minute
	// maxSupersedeAfter bounds that time. It doubles with each Apply in a row that was cancelled, so that a sink which needs
	// longer gets done even if something newer comes all the time.
	maxSupersedeAfter = 16 * time.Minute
	// supersedeEvery is how often an Apply that goes on for longer is looked at.
	supersedeEvery = time.Second
)

// errSuperseded is why an Apply was cancelled although its pipeline goes on.
var errSuperseded = errors.New("cancelled, because something newer waits")

// A supersededError is what became of an Apply that was cancelled for something newer.
type supersededError struct {
	took time.Duration
	err  error // the sink's
}

func (e *supersededError) Error() string {
	return fmt.Sprintf("%v after %s: %v", errSuperseded, e.took.Round(time.Second), e.err)
}

func (e *supersededError) Unwrap() error { return e.err }

// untilSuperseded returns a context for the Apply of e. It ends once the Apply has taken its time and something newer waits.
// release has to be called in the end, and reports whether that was so.
func (p *pipeline) untilSuperseded(ctx context.Context, e *effect) (_ context.Context, release func() bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		if p.waitUntilOvertaken(ctx, e) {
			p.log.Warn("the sink has not applied the configuration; it is cancelled, because something newer waits",
				"generation", e.document.Generation, "after", p.patience)
			cancel(errSuperseded)
		}
	})
	return ctx, func() bool {
		cancel(nil)
		watching.Wait()
		return errors.Is(context.Cause(ctx), errSuperseded)
	}
}

// waitUntilOvertaken returns true as soon as the Apply of e may be cancelled, and false when ctx is done.
func (p *pipeline) waitUntilOvertaken(ctx context.Context, e *effect) bool {
	wait := time.NewTimer(p.patience)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-wait.C:
		}
		if p.overtaken(e) {
			return true
		}
		wait.Reset(supersedeEvery)
	}
}

// overtaken reports whether something waits that e cannot be the answer to. It takes nothing from what the pipeline reads.
func (p *pipeline) overtaken(e *effect) bool {
	if len(p.asked) > 0 || len(p.edited) > 0 {
		return true
	}
	newest, ok := p.snapshots.latest()
	return ok && len(p.snapshots.ready) > 0 && !snapshots.Equal(newest, e.snapshot)
}

// extendPatience doubles how long the next Apply may take, after one was cancelled.
func (p *pipeline) extendPatience() { p.patience = min(2*p.patience, maxSupersedeAfter) }

// resetPatience sets how long the next Apply may take, after the newest document has come into effect.
func (p *pipeline) resetPatience() { p.patience = supersedeAfter }
