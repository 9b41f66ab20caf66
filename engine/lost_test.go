package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var errNotLoaded = sdk.NotLoaded(errors.New("cannot chroot"))

func (env *testEnv) emitLost(lost sdk.Lost) {
	env.sink.lost <- lost
	synctest.Wait()
}

// withRetry returns the documents that had Retry set.
func (s *fakeSink) withRetry() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, doc := range s.docs {
		if doc.Retry {
			texts = append(texts, string(doc.Files[0].Content))
		}
	}
	return texts
}

// loadFailures returns what the documents inspect of the load before them.
func (s *fakeSink) loadFailures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failures []string
	for _, doc := range s.docs {
		failures = append(failures, doc.LoadFailure)
	}
	return failures
}

func (env *testEnv) requestApply() {
	env.t.Helper()
	if err := env.engine.Apply("p", "192.0.2.9"); err != nil {
		env.t.Fatal(err)
	}
	synctest.Wait()
}

func TestNotLoaded_CandidateIsNotRetried(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v2:a", errNotLoaded)
		env.edit("v2")
		env.wantApplied("1 v1:a", "2 v2:a")
		env.emitServices("a", "b")
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v2:a", "3 v1:a,b")
		if s := env.status(); !isNotLoaded(s.TemplateError) || s.ApplyError != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
		env.edit("v3")
		env.wantApplied("1 v1:a", "2 v2:a", "3 v1:a,b", "4 v3:a,b")
		if s := env.status(); s.TemplateError != nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestNotLoaded_CandidateIsRetriedOnRequest(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v2:a", errNotLoaded)
		env.edit("v2")
		env.sink.setError("v2:a", nil)
		env.requestApply()
		env.wantApplied("1 v1:a", "2 v2:a", "2 v2:a")
		if retries := env.sink.withRetry(); fmt.Sprint(retries) != "[v2:a v2:a]" {
			t.Errorf("documents with Retry: %q", retries)
		}
		env.emitServices("b")
		if retries := env.sink.withRetry(); len(retries) != 2 {
			t.Errorf("documents with Retry after the request: %q", retries)
		}
	})
}

func TestNotLoaded_NewerDocumentIsApplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", errNotLoaded)
		env.emitServices("b")
		env.pass(5 * time.Second)
		env.emitServices("b", "c") // a newer document is applied at once and does not delay the retry
		env.sink.setError("v1:b,c", errNotLoaded)
		env.emitServices("b")
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:b,c")
		if env.engine.Health(env.t.Context())[0].OK() {
			t.Error("healthy although the newest document is not applied")
		}
	})
}

// A deferred document is applied if the newer one fails to load.
func TestNotLoaded_DeferredDocumentIsApplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		env.sink.setError("v1:b", nil)
		env.sink.setError("v1:c", errNotLoaded)
		env.emitServices("c")
		env.pass(10 * time.Second)
		if s := env.status(); s.Generation != 2 || s.ApplyError == nil {
			t.Errorf("generation %d, error %v", s.Generation, s.ApplyError)
		}
	})
}

func TestNotLoaded_LaterDocumentsHaveLoadFailure(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", errNotLoaded)
		env.emitServices("b")
		env.sink.setError("v1:c", errors.New("busy"))
		env.emitServices("c")
		env.sink.setError("v1:c", nil)
		env.pass(time.Minute)
		env.emitServices("d")
		want := []string{"", "", errNotLoaded.Error(), errNotLoaded.Error(), ""}
		if got := env.sink.loadFailures(); !slices.Equal(got, want) {
			t.Errorf("load failures %q, want %q", got, want)
		}
	})
}

func TestNotLoaded_IsRetried(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", errNotLoaded)
		env.emitServices("b")
		env.pass(9 * time.Second)
		env.wantApplied("1 v1:a", "2 v1:b")
		env.pass(time.Hour)
		if retries := len(env.sink.withRetry()); retries < 4 || retries > 15 {
			t.Errorf("retried %d times in an hour", retries)
		}
		env.sink.setError("v1:b", nil)
		env.pass(time.Hour)
		if s := env.status(); s.ApplyError != nil || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestNotLoaded_FirstTemplateOfRun(t *testing.T) {
	store := newFakeStateStore()
	doc := sdk.Document{Pipeline: "p", Generation: 7, Files: []sdk.File{{Name: "haproxy.cfg", Content: []byte("old:a")}}}
	doc.Digest = sdk.DigestOf(doc.Files)
	store.SaveAppliedDocument("p", AppliedDocument{Document: doc})
	runWithStore(t, store, func(env *testEnv) {
		env.sink.setError("v1:a", errNotLoaded)
		env.emitServices("a")
		env.pass(time.Hour)
		env.wantApplied("7 old:a", "9 v1:a")
		env.sink.setError("v1:a", nil)
		env.requestApply()
		env.wantApplied("7 old:a", "9 v1:a", "9 v1:a")
	})
}

// The sink may report the loss of a document while it applies a newer one.
func TestLost_ReplacedDocument(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		lost := env.status().Digest
		env.emitServices("b")
		env.emitLost(sdk.Lost{Err: errNotLoaded, Digest: lost})
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v1:b")
		if s := env.status(); s.Generation != 2 || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		env.emitLost(sdk.Lost{Err: errNotLoaded, Generation: 1, Digest: env.status().Digest})
		if s := env.status(); s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestLost_EditedTemplateFallsBackToPrevious(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.edit("v2")
		env.wantApplied("1 v1:a", "2 v2:a")
		env.emitLost(sdk.Lost{Err: errNotLoaded, Generation: 1})
		env.wantApplied("1 v1:a", "2 v2:a", "4 v1:a")
		if s := env.status(); !isNotLoaded(s.TemplateError) || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		env.emitServices("b")
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "2 v2:a", "4 v1:a", "5 v1:b")
	})
}

func TestLost_ProvenTemplateIsRetriedLater(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.edit("v2")
		env.emitServices("b")
		env.emitLost(sdk.Lost{Err: errNotLoaded, Generation: 2})
		env.wantApplied("1 v1:a", "2 v2:a", "3 v2:b")
		if s := env.status(); s.TemplateError != nil || !isNotLoaded(s.ApplyError) || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
		env.emitServices("c")
		env.wantApplied("1 v1:a", "2 v2:a", "3 v2:b", "5 v2:c")
	})
}

func TestLost_OtherReasonReappliesDocument(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.emitServices("b")
		env.sink.setError("v1:b", sdk.Rejectf("line 3 is wrong"))
		env.emitLost(sdk.Lost{Err: errors.New("rolled back"), Generation: 1})
		env.wantApplied("1 v1:a", "2 v1:b", "2 v1:b")
		s := env.status()
		if !errors.Is(s.ApplyError, sdk.ErrRejected) || s.Last.Trigger.Kind != history.TriggerLost {
			t.Errorf("status %+v", s)
		}
	})
}

func TestLost_DocumentIsNotStored(t *testing.T) {
	store := newFakeStateStore()
	runWithStore(t, store, func(env *testEnv) {
		env.emitServices("a")
		env.emitLost(sdk.Lost{Err: errNotLoaded})
	})
	if kept, _ := store.AppliedDocument("p"); kept.Document.Digest != "" {
		t.Errorf("stored generation %d", kept.Document.Generation)
	}
}
