package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// keptDocument is what an earlier run applied.
func keptDocument() sdk.Document {
	doc := sdk.Document{Pipeline: "p", Generation: 7, Files: []sdk.File{{Name: "haproxy.cfg", Content: []byte("old:a")}}}
	doc.Digest = sdk.DigestOf(doc.Files)
	return doc
}

// failUntilMended answers every document with an error until the returned function is called.
func (w *world) failUntilMended() (mend func()) {
	set := func(judge func(sdk.Document) error) {
		w.sink.mu.Lock()
		defer w.sink.mu.Unlock()
		w.sink.judge = judge
	}
	set(func(sdk.Document) error { return errors.New("disk full") })
	return func() { set(nil) }
}

func (w *world) restartSink() {
	w.sink.restarted <- struct{}{}
	synctest.Wait()
}

// wantRetriedUntilMended wants failures to show in health, tries to go on, and the document to be in effect in the end.
func (w *world) wantRetriedUntilMended(mend func()) {
	w.t.Helper()
	if w.engine.Health(w.t.Context())[0].OK() {
		w.t.Error("healthy although applying failed")
	}
	before := len(w.sink.texts())
	w.pass(5 * time.Minute)
	if after := len(w.sink.texts()); after < before+5 {
		w.t.Errorf("tried %d times in five minutes", after-before)
	}
	mend()
	w.pass(time.Minute)
	if health := w.engine.Health(w.t.Context())[0]; !health.OK() {
		w.t.Errorf("problems %q", health.Problems)
	}
	tries := len(w.sink.texts())
	w.pass(time.Hour)
	if again := len(w.sink.texts()); again != tries {
		w.t.Errorf("offered %d times more after it was in effect", again-tries)
	}
}

func TestReapply_FailureAfterASinkRestartIsRetried(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		mend := w.failUntilMended()
		w.restartSink()
		w.wantRetriedUntilMended(mend)
	})
}

func TestReapply_FailureAtTheStartWithoutASnapshotIsRetried(t *testing.T) {
	store := newFakeStateStore()
	store.SaveAppliedDocument("p", AppliedDocument{Document: keptDocument()})
	playRemembering(t, store, func(w *world) {
		mend := w.failUntilMended()
		w.restartSink()
		w.wantRetriedUntilMended(mend)
	})
}

func TestReapply_FailureWithABrokenTemplateIsRetried(t *testing.T) {
	store := newFakeStateStore()
	store.SaveAppliedDocument("p", AppliedDocument{Document: keptDocument()})
	playRemembering(t, store, func(w *world) {
		w.edit("bad")
		mend := w.failUntilMended()
		w.restartSink()
		w.say("a")
		before := len(w.sink.texts())
		w.pass(5 * time.Minute)
		if after := len(w.sink.texts()); after < before+5 {
			t.Errorf("tried %d times in five minutes", after-before)
		}
		mend()
		w.pass(time.Minute)
		if s := w.status(); s.Generation != 7 {
			t.Errorf("status %+v", s)
		}
	})
}
