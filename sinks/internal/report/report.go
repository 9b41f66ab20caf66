// Package report collects what a sink does during one call: its steps and the commands that it sends.
package report

import (
	"context"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Report is what one call of a sink has done so far. It is part of the context, so that everything that is called with the
// context adds to it. It is safe for concurrent use.
type Report struct {
	began time.Time

	mu       sync.Mutex
	inStep   bool
	steps    []sdk.Step
	commands []sdk.Command
}

type key struct{}

// With returns a context with an empty report.
func With(ctx context.Context) (context.Context, *Report) {
	r := &Report{began: time.Now()}
	return context.WithValue(ctx, key{}, r), r
}

// Step begins a step, which end ends. A step within another one is part of that one. Step does nothing if ctx has no report.
func Step(ctx context.Context, name string) (end func()) {
	r, _ := ctx.Value(key{}).(*Report)
	if r == nil || !r.enter() {
		return func() {}
	}
	began := time.Now()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inStep = false
		r.steps = append(r.steps, sdk.Step{Name: name, Start: began.Sub(r.began), Took: time.Since(began)})
	}
}

func (r *Report) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inStep {
		return false
	}
	r.inStep = true
	return true
}

// Commands adds commands that the sink has sent, with their answers. It does nothing if ctx has no report.
func Commands(ctx context.Context, commands []sdk.Command) {
	if r, _ := ctx.Value(key{}).(*Report); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.commands = append(r.commands, commands...)
	}
}

// Result returns result with the steps and commands of the report, and with the time since it began.
func (r *Report) Result(result sdk.Result) sdk.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Took, result.Steps, result.Commands = time.Since(r.began), r.steps, r.commands
	return result
}
