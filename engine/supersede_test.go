package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// holdApplies makes every Apply block until it is cancelled or the returned function is called.
func (env *testEnv) holdApplies() (release func()) {
	gate := make(chan struct{})
	env.sink.mu.Lock()
	defer env.sink.mu.Unlock()
	env.sink.gate = gate
	return func() {
		env.sink.mu.Lock()
		defer env.sink.mu.Unlock()
		env.sink.gate = nil
		close(gate)
	}
}

// releaseLater makes later calls of Apply not block. Those that block already go on blocking.
func (env *testEnv) releaseLater() {
	env.sink.mu.Lock()
	defer env.sink.mu.Unlock()
	env.sink.gate = nil
}

func TestSupersede_HungApply(t *testing.T) {
	for name, newer := range map[string]struct {
		comes   func(env *testEnv)
		applied []string
	}{
		"snapshot": {func(env *testEnv) { env.emitServices("b") }, []string{"1 v1:a", "2 v1:b"}},
		"template": {func(env *testEnv) { env.edit("v2") }, []string{"1 v1:a", "2 v2:a"}},
		"request": {func(env *testEnv) {
			if err := env.engine.Apply("p", "192.0.2.9"); err != nil {
				env.t.Fatal(err)
			}
			synctest.Wait()
		}, []string{"1 v1:a", "1 v1:a"}},
	} {
		t.Run(name, func(t *testing.T) {
			runEngine(t, func(env *testEnv) {
				defer env.holdApplies()()
				began := time.Now()
				env.emitServices("a")
				newer.comes(env)
				env.pass(supersedeAfter - time.Second)
				env.wantApplied("1 v1:a")
				if s := env.status(); !s.Applying.Equal(began) || env.engine.Health(env.t.Context())[0].OK() {
					t.Errorf("applying since %v, want %v", s.Applying, began)
				}
				env.releaseLater()
				env.pass(2 * time.Second)
				env.wantApplied(newer.applied...)
				if s := env.status(); s.ApplyError != nil || !s.Applying.IsZero() || !env.engine.Health(env.t.Context())[0].OK() {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

// A snapshot that comes after the timeout of an Apply cancels it at once.
func TestSupersede_HungApplyAfterTimeout(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		defer env.holdApplies()()
		env.emitServices("a")
		env.pass(time.Hour)
		env.wantApplied("1 v1:a")
		env.releaseLater()
		env.emitServices("b")
		env.pass(2 * time.Second)
		env.wantApplied("1 v1:a", "2 v1:b")
	})
}

// A snapshot in which only Updated times differ is not newer.
func TestSupersede_EqualSnapshot(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		release := env.holdApplies()
		env.emitServices("a")
		for range 10 {
			env.pass(time.Minute)
			env.emitServices("a")
		}
		env.wantApplied("1 v1:a")
		release()
		synctest.Wait()
		if s := env.status(); s.ApplyError != nil || s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

// A sink that needs longer than the first timeout finishes although something newer comes all the time.
func TestSupersede_SlowSinkFinishes(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.mu.Lock()
		env.sink.takes = 5 * time.Minute
		env.sink.mu.Unlock()
		done := 0
		for n := range 1800 { // half an hour
			env.emitServices([]string{"a", "b", "c"}[n%3])
			env.pass(time.Second)
		}
		for _, err := range env.sink.outcomes() {
			if err == nil {
				done++
			}
		}
		if done == 0 {
			t.Errorf("none of %d attempts finished", len(env.sink.outcomes()))
		}
	})
}

// Documents that the sink applies quickly in between do not reset the timeout of slow ones.
func TestSupersede_TimeoutDoublesForCandidate(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.mu.Lock()
		env.sink.slow, env.sink.takes = "v2", 3*time.Minute
		env.sink.mu.Unlock()
		env.edit("v2")
		for n := range 1800 { // half an hour
			env.emitServices([]string{"a", "b", "c"}[n%3])
			env.pass(time.Second)
		}
		if err := env.status().TemplateError; err != nil {
			t.Errorf("the template is not active: %v", err)
		}
	})
}

// A cancelled Apply that succeeds all the same counts as applied.
func TestSupersede_CancelledApplySucceeds(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.mu.Lock()
		env.sink.ignoreCancel, env.sink.takes = true, 90*time.Second
		env.sink.mu.Unlock()
		env.emitServices("a")
		env.emitServices("b")
		env.pass(100 * time.Second)
		if s := env.status(); s.Generation != 1 || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v1:b")
	})
}

func TestSupersededError_WrapsSinkError(t *testing.T) {
	err := error(&supersededError{time.Minute, sdk.RetryAfter(context.Canceled, time.Hour)})
	if _, ok := errors.AsType[*sdk.RetryError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
