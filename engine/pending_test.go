package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// deferred returns an error that defers a document by a time that differs from all backoffs.
func deferred() error { return sdk.Deferred("one reload in 4321 ms", 4321*time.Millisecond) }

func (env *testEnv) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestDeferred_IsRetriedAtItsTime(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		began := time.Now()
		s := env.status()
		if s.ApplyError != nil || s.Generation != 1 || s.Last.Outcome != history.OutcomeDeferred || s.Pending == nil ||
			*s.Pending != (Pending{"one reload in 4321 ms", began.Add(4321 * time.Millisecond)}) {
			t.Errorf("status %+v", s)
		}
		if health := env.engine.Health(env.t.Context())[0]; !health.OK() {
			t.Errorf("health %q", health.Problems)
		}
		for range 3 { // without backoff
			env.pass(4320 * time.Millisecond)
			before := len(env.sink.applied())
			env.pass(time.Millisecond)
			if after := len(env.sink.applied()); after != before+1 {
				t.Errorf("%d attempts in that millisecond", after-before)
			}
		}
		env.sink.setError("v1:b", nil)
		env.pass(4321 * time.Millisecond)
		env.wantApplied("1 v1:a", "2 v1:b", "2 v1:b", "2 v1:b", "2 v1:b", "2 v1:b")
		if s := env.status(); s.Pending != nil || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
		env.pass(time.Hour)
		if got := len(env.sink.applied()); got != 6 {
			t.Errorf("%d attempts", got)
		}
	})
}

func TestDeferred_NewerDocumentIsAppliedAtOnce(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		env.emitServices("c")
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c")
		if s := env.status(); s.Pending != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c")
	})
}

func TestDeferred_PreviousDocumentIsReapplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		env.emitServices("a")
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:a")
	})
}

func TestDeferred_CandidateHasNoTemplateError(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v2:a", deferred())
		env.edit("v2")
		if s := env.status(); s.TemplateError != nil || s.Pending == nil {
			t.Errorf("status %+v", s)
		}
		env.wantApplied("1 v1:a", "2 v2:a")
		env.sink.setError("v2:a", nil)
		env.pass(4321 * time.Millisecond)
		env.emitServices("b")
		env.wantApplied("1 v1:a", "2 v2:a", "2 v2:a", "3 v2:b")
	})
}

func TestDeferred_PreviousTemplateIsReapplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v2:a", deferred())
		env.edit("v2")
		env.edit("v1")
		env.wantApplied("1 v1:a", "2 v2:a", "3 v1:a")
	})
}

func TestDeferred_ClearsApplyError(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.setError("v1:a", errors.New("disk full"))
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		if s := env.status(); s.ApplyError != nil || s.Pending == nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestDeferred_StaysPendingWhileNewerIsRejected(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		env.sink.setError("v1:c", sdk.Rejectf("no"))
		env.pass(time.Second)
		env.emitServices("c")
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c")
		env.sink.setError("v1:b", nil)
		env.pass(3320 * time.Millisecond)
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c")
		env.pass(time.Millisecond)
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c", "2 v1:b")
		if s := env.status(); s.Generation != 2 || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:c", "2 v1:b")
	})
}

func TestDeferred_ZeroDelayIsBounded(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.setError("v1:a", sdk.Deferred("soon", 0))
		env.emitServices("a")
		env.pass(time.Second)
		if got := len(env.sink.applied()); got < 2 || got > 200 {
			t.Errorf("%d attempts in a second", got)
		}
	})
}

func TestDeferred_ShowsExclusions(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.sink.setError("lines\nservice chat\nserver chat/1 ok", deferred())
		env.emitInstances("chat/1 ok", "web/1 bad")
		if s := env.status(); s.Pending == nil || env.excluded() != "web/1" {
			t.Errorf("status %+v", s)
		}
		env.sink.setError("lines\nservice chat\nserver chat/1 ok", nil)
		env.pass(4321 * time.Millisecond)
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		if got := strings.Join(env.sink.applied(), "|"); strings.Count(got, "web") != 2 {
			t.Errorf("the whole document was applied again: %s", got)
		}
	})
}
