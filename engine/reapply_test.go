package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// storedDocument is what an earlier run applied.
func storedDocument() sdk.Document {
	doc := sdk.Document{Pipeline: "p", Generation: 7, Files: []sdk.File{{Name: "haproxy.cfg", Content: []byte("old:a")}}}
	doc.Digest = sdk.DigestOf(doc.Files)
	return doc
}

// failUntilFixed failures every document with an error until the returned function is called.
func (env *testEnv) failUntilFixed() (fix func()) {
	set := func(check func(sdk.Document) error) {
		env.sink.mu.Lock()
		defer env.sink.mu.Unlock()
		env.sink.check = check
	}
	set(func(sdk.Document) error { return errors.New("disk full") })
	return func() { set(nil) }
}

func (env *testEnv) restartSink() {
	env.sink.restarted <- struct{}{}
	synctest.Wait()
}

// wantRetriedUntilFixed wants failures to show in health, tries to go on, and the document to be in effect in the end.
func (env *testEnv) wantRetriedUntilFixed(fix func()) {
	env.t.Helper()
	if env.engine.Health(env.t.Context())[0].OK() {
		env.t.Error("healthy although applying failed")
	}
	before := len(env.sink.applied())
	env.pass(5 * time.Minute)
	if after := len(env.sink.applied()); after < before+5 {
		env.t.Errorf("tried %d times in five minutes", after-before)
	}
	fix()
	env.pass(time.Minute)
	if health := env.engine.Health(env.t.Context())[0]; !health.OK() {
		env.t.Errorf("problems %q", health.Problems)
	}
	tries := len(env.sink.applied())
	env.pass(time.Hour)
	if again := len(env.sink.applied()); again != tries {
		env.t.Errorf("offered %d times more after it was in effect", again-tries)
	}
}

func TestReapply_FailureAfterSinkRestart(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		fix := env.failUntilFixed()
		env.restartSink()
		env.wantRetriedUntilFixed(fix)
	})
}

func TestReapply_FailureAtStartWithoutSnapshot(t *testing.T) {
	store := newFakeStateStore()
	store.SaveAppliedDocument("p", AppliedDocument{Document: storedDocument()})
	runWithStore(t, store, func(env *testEnv) {
		fix := env.failUntilFixed()
		env.restartSink()
		env.wantRetriedUntilFixed(fix)
	})
}

func TestReapply_FailureWithBrokenTemplate(t *testing.T) {
	store := newFakeStateStore()
	store.SaveAppliedDocument("p", AppliedDocument{Document: storedDocument()})
	runWithStore(t, store, func(env *testEnv) {
		env.edit("bad")
		fix := env.failUntilFixed()
		env.restartSink()
		env.emitServices("a")
		before := len(env.sink.applied())
		env.pass(5 * time.Minute)
		if after := len(env.sink.applied()); after < before+5 {
			t.Errorf("tried %d times in five minutes", after-before)
		}
		fix()
		env.pass(time.Minute)
		if s := env.status(); s.Generation != 7 {
			t.Errorf("status %+v", s)
		}
	})
}
