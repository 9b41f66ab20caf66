package templates

import (
	"context"
	"time"
)

// Bounds for templates that have gone wild. A step is a round of a range, or something that is written; what takes ten
// thousand instances needs some hundred thousand. The time is for what takes long without many steps. Where both are kept, a
// template may still take a lot of memory, by a map that contains itself many times over, for example: people who mean harm
// are not who these are for.
const (
	maxOutput  = 256 << 20 // bytes that all templates of a document write together, included ones counted each time
	maxSteps   = 10_000_000
	maxTime    = 30 * time.Second
	maxInclude = 100       // include within include
	maxDepth   = 200       // templates that come back to themselves
	maxText    = 16 << 20  // bytes of what a function returns
	maxList    = 1_000_000 // elements of what a function returns
)

// bounds are those that tests make smaller.
type bounds struct {
	output, steps int
	time          time.Duration
}

var usualBounds = bounds{output: maxOutput, steps: maxSteps, time: maxTime}

// A budget is what a run has used of its bounds.
type budget struct {
	bounds
	written, stepped int
	includes, depth  int // how deep
	done             <-chan struct{}
	cause            func() error
}

// newBudget returns the budget of a run that also ends with ctx. Call the function that it returns when the run is over.
func newBudget(ctx context.Context, b bounds) (*budget, context.CancelFunc) {
	late := runawayf("the rendering takes longer than %v: does a loop not end?", b.time)
	ctx, cancel := context.WithTimeoutCause(ctx, b.time, late)
	return &budget{bounds: b, done: ctx.Done(), cause: func() error { return context.Cause(ctx) }}, cancel
}

// exceeded returns an error once the run should not go on.
func (b *budget) exceeded() error {
	switch {
	case b.written > b.output:
		return runawayf("the output exceeds %d MiB: does a loop not end?", b.output>>20)
	case b.stepped > b.steps:
		return runawayf("the rendering takes more than %d steps: does a loop not end?", b.steps)
	}
	select {
	case <-b.done:
		return b.cause()
	default:
		return nil
	}
}

// step counts one.
func (b *budget) step() error {
	b.stepped++
	return b.exceeded()
}
