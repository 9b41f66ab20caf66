package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// hold makes every Apply wait until it is cancelled or the returned function is called.
func (w *world) hold() (letGo func()) {
	gate := make(chan struct{})
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	w.sink.gate = gate
	return func() {
		w.sink.mu.Lock()
		defer w.sink.mu.Unlock()
		w.sink.gate = nil
		close(gate)
	}
}

// noGate lets what is offered from now on pass, but not what waits already.
func (w *world) noGate() {
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	w.sink.gate = nil
}

func TestApply_ThatHangsIsCancelledForSomethingNewer(t *testing.T) {
	for name, newer := range map[string]struct {
		comes   func(w *world)
		offered []string
	}{
		"snapshot": {func(w *world) { w.say("b") }, []string{"1 v1:a", "2 v1:b"}},
		"template": {func(w *world) { w.edit("v2") }, []string{"1 v1:a", "2 v2:a"}},
		"request": {func(w *world) {
			if err := w.engine.Apply("p"); err != nil {
				w.t.Fatal(err)
			}
			synctest.Wait()
		}, []string{"1 v1:a", "1 v1:a"}},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				defer w.hold()()
				began := time.Now()
				w.say("a")
				newer.comes(w)
				w.pass(supersedeAfter - time.Second)
				w.want("1 v1:a")
				if s := w.status(); !s.Applying.Equal(began) || w.engine.Health(w.t.Context())[0].OK() {
					t.Errorf("applying since %v, want %v", s.Applying, began)
				}
				w.noGate()
				w.pass(2 * time.Second)
				w.want(newer.offered...)
				if s := w.status(); s.ApplyError != nil || !s.Applying.IsZero() || !w.engine.Health(w.t.Context())[0].OK() {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

// Something that comes after the time of an Apply is up need not wait any more.
func TestApply_ThatHangsIsCancelledAtOnceWhenItsTimeIsUp(t *testing.T) {
	play(t, func(w *world) {
		defer w.hold()()
		w.say("a")
		w.pass(time.Hour)
		w.want("1 v1:a")
		w.noGate()
		w.say("b")
		w.pass(2 * time.Second)
		w.want("1 v1:a", "2 v1:b")
	})
}

// What differs in nothing but times is nothing newer.
func TestApply_IsNotCancelledForTheSameCatalogue(t *testing.T) {
	play(t, func(w *world) {
		letGo := w.hold()
		w.say("a")
		for range 10 {
			w.pass(time.Minute)
			w.say("a")
		}
		w.want("1 v1:a")
		letGo()
		synctest.Wait()
		if s := w.status(); s.ApplyError != nil || s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

// A sink that needs longer than the first time gets done although something newer comes all the time.
func TestApply_ASlowSinkGetsDoneUnderSteadyChanges(t *testing.T) {
	play(t, func(w *world) {
		w.sink.mu.Lock()
		w.sink.takes = 5 * time.Minute
		w.sink.mu.Unlock()
		done := 0
		for n := range 1800 { // half an hour
			w.say([]string{"a", "b", "c"}[n%3])
			w.pass(time.Second)
		}
		for _, err := range w.sink.outcomes() {
			if err == nil {
				done++
			}
		}
		if done == 0 {
			t.Errorf("of %d tries none came to its end", len(w.sink.outcomes()))
		}
	})
}

// What the sink does quickly in between does not shorten its time for what takes long.
func TestApply_CancelledCandidateGetsMoreTimeEachTime(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.mu.Lock()
		w.sink.slow, w.sink.takes = "v2", 3*time.Minute
		w.sink.mu.Unlock()
		w.edit("v2")
		for n := range 1800 { // half an hour
			w.say([]string{"a", "b", "c"}[n%3])
			w.pass(time.Second)
		}
		if err := w.status().TemplateError; err != nil {
			t.Errorf("the template is not in use: %v", err)
		}
	})
}

// A sink that carries a document through although it is cancelled has told the truth.
func TestApply_AnswerOfACancelledApplyCounts(t *testing.T) {
	play(t, func(w *world) {
		w.sink.mu.Lock()
		w.sink.stubborn, w.sink.takes = true, 90*time.Second
		w.sink.mu.Unlock()
		w.say("a")
		w.say("b")
		w.pass(100 * time.Second)
		if s := w.status(); s.Generation != 1 || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v1:b")
	})
}

func TestApply_CancelledKeepsTheSinksError(t *testing.T) {
	err := error(&supersededError{time.Minute, sdk.RetryAfter(context.Canceled, time.Hour)})
	if _, ok := errors.AsType[*sdk.RetryError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
