package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// storedDocument returns the document that an earlier run applied.
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

// wantRetriedUntilFixed checks that the failure is in the health, and that Apply is retried until it succeeds.
func (env *testEnv) wantRetriedUntilFixed(fix func()) {
	env.t.Helper()
	if env.engine.Health(env.t.Context())[0].OK() {
		env.t.Error("healthy although applying failed")
	}
	before := len(env.sink.applied())
	env.pass(5 * time.Minute)
	if after := len(env.sink.applied()); after < before+5 {
		env.t.Errorf("%d attempts in five minutes", after-before)
	}
	fix()
	env.pass(time.Minute)
	if health := env.engine.Health(env.t.Context())[0]; !health.OK() {
		env.t.Errorf("problems %q", health.Problems)
	}
	attempts := len(env.sink.applied())
	env.pass(time.Hour)
	if again := len(env.sink.applied()); again != attempts {
		env.t.Errorf("%d attempts after it succeeded", again-attempts)
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
			t.Errorf("%d attempts in five minutes", after-before)
		}
		fix()
		env.pass(time.Minute)
		if s := env.status(); s.Generation != 7 {
			t.Errorf("status %+v", s)
		}
	})
}
