package haproxy

import (
	"context"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A record collects what one Apply, Reread or load does: its steps and the commands that it sends to HAProxy. It is part of the
// context, so that everything that is called with the context adds to it.
type record struct {
	began time.Time

	mu       sync.Mutex
	inStep   bool
	steps    []sdk.Step
	commands []sdk.Command
}

type recordKey struct{}

// withRecord returns a context with an empty record.
func withRecord(ctx context.Context) (context.Context, *record) {
	r := &record{began: time.Now()}
	return context.WithValue(ctx, recordKey{}, r), r
}

// recordStep begins a step, which end ends. A step within another one is part of that one. Without a record in ctx it does
// nothing.
func recordStep(ctx context.Context, name string) (end func()) {
	r, _ := ctx.Value(recordKey{}).(*record)
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

func (r *record) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inStep {
		return false
	}
	r.inStep = true
	return true
}

// recordCommands adds commands to the record in ctx, if there is one.
func recordCommands(ctx context.Context, commands []sdk.Command) {
	if r, _ := ctx.Value(recordKey{}).(*record); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.commands = append(r.commands, commands...)
	}
}

// texts returns what was sent, for the log.
func texts(commands []sdk.Command) []string {
	sent := make([]string, len(commands))
	for i, command := range commands {
		sent[i] = command.Sent
	}
	return sent
}

// result returns result with what was recorded.
func (r *record) result(result sdk.Result) sdk.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Took, result.Steps, result.Commands = time.Since(r.began), r.steps, r.commands
	return result
}
