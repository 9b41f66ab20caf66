package templates

import (
	"context"
	"time"
)

// The bounds of a rendering, for templates that do not end. A step is an iteration of a range, or something that is written; ten
// thousand instances take some hundred thousand. The time is for templates that take long with few steps. Within these bounds a
// template may still use a lot of memory, by a map that contains itself many times over, for example: the bounds do not protect
// against malicious authors.
const (
	maxOutput  = 256 << 20 // bytes that all templates of a document write together; included ones count each time
	maxSteps   = 10_000_000
	maxTime    = 30 * time.Second
	maxInclude = 100 // include inside include
	maxDepth   = 200 // calls of templates that can call themselves, one inside another
)

// bounds are those that tests make smaller.
type bounds struct {
	output, steps int
	time          time.Duration
}

var usualBounds = bounds{output: maxOutput, steps: maxSteps, time: maxTime}

// A budget is what a rendering has used of its bounds.
type budget struct {
	bounds
	written, stepped int
	includes, depth  int          // the current ones
	ended            func() error // the reason why the time is over, or nil
}

// newBudget returns the budget of a rendering that also ends with ctx. The caller calls the function that it returns when the
// rendering is over.
func newBudget(ctx context.Context, b bounds) (*budget, context.CancelFunc) {
	late := runawayf("the rendering takes longer than %v: does a loop not end?", b.time)
	ctx, cancel := context.WithTimeoutCause(ctx, b.time, late)
	return &budget{bounds: b, ended: func() error {
		if ctx.Err() == nil {
			return nil
		}
		return context.Cause(ctx)
	}}, cancel
}

// exceeded returns an error if the rendering must not go on.
func (b *budget) exceeded() error {
	switch {
	case b.written > b.output:
		return runawayf("the output exceeds %d MiB: does a loop not end?", b.output>>20)
	case b.stepped > b.steps:
		return runawayf("the rendering takes more than %d steps: does a loop not end?", b.steps)
	}
	return b.ended()
}

// step counts one step.
func (b *budget) step() error {
	b.stepped++
	return b.exceeded()
}
