package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var errNotLoaded = sdk.NotLoaded(errors.New("cannot chroot"))

func (w *world) lose(lost sdk.Lost) {
	w.sink.lost <- lost
	synctest.Wait()
}

// retries returns which of the documents were offered with Retry.
func (s *playedSink) retries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, doc := range s.offered {
		if doc.Retry {
			texts = append(texts, string(doc.Files[0].Content))
		}
	}
	return texts
}

// loadFailures returns what the documents said of the load before them.
func (s *playedSink) loadFailures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failures []string
	for _, doc := range s.offered {
		failures = append(failures, doc.LoadFailure)
	}
	return failures
}

func (w *world) request() {
	w.t.Helper()
	if err := w.engine.Apply("p"); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func TestCandidate_NotLoadedIsNotTriedAgainByItself(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v2:a", errNotLoaded)
		w.edit("v2")
		w.want("1 v1:a", "2 v2:a")
		w.say("a", "b")
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v2:a", "3 v1:a,b")
		if s := w.status(); !isNotLoaded(s.TemplateError) || s.ApplyError != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
		w.edit("v3")
		w.want("1 v1:a", "2 v2:a", "3 v1:a,b", "4 v3:a,b")
		if s := w.status(); s.TemplateError != nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestCandidate_NotLoadedIsTriedAgainOnRequest(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v2:a", errNotLoaded)
		w.edit("v2")
		w.sink.answer("v2:a", nil)
		w.request()
		w.want("1 v1:a", "2 v2:a", "2 v2:a")
		if retries := w.sink.retries(); fmt.Sprint(retries) != "[v2:a v2:a]" {
			t.Errorf("offered with Retry: %q", retries)
		}
		w.say("b")
		if retries := w.sink.retries(); len(retries) != 2 {
			t.Errorf("offered with Retry after the request: %q", retries)
		}
	})
}

func TestActive_NotLoadedDoesNotHoldUpNewerDocuments(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", errNotLoaded)
		w.say("b")
		w.pass(5 * time.Second)
		w.say("b", "c") // a newer document is offered at once, and does not put the retry off
		w.sink.answer("v1:b,c", errNotLoaded)
		w.say("b")
		w.want("1 v1:a", "2 v1:b", "3 v1:b,c")
		if w.engine.Health(w.t.Context())[0].OK() {
			t.Error("healthy although the newest document is not in effect")
		}
	})
}

// A document that the sink deferred comes into effect where the newer one fails to load.
func TestActive_NotLoadedDoesNotHoldUpADeferredDocument(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		w.sink.answer("v1:b", nil)
		w.sink.answer("v1:c", errNotLoaded)
		w.say("c")
		w.pass(10 * time.Second)
		if s := w.status(); s.Generation != 2 || s.ApplyError == nil {
			t.Errorf("generation %d, error %v", s.Generation, s.ApplyError)
		}
	})
}

func TestActive_NotLoadedIsKnownToLaterDocuments(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", errNotLoaded)
		w.say("b")
		w.sink.answer("v1:c", errors.New("busy"))
		w.say("c")
		w.sink.answer("v1:c", nil)
		w.pass(time.Minute)
		w.say("d")
		want := []string{"", "", errNotLoaded.Error(), errNotLoaded.Error(), ""}
		if got := w.sink.loadFailures(); !slices.Equal(got, want) {
			t.Errorf("documents came with %q, want %q", got, want)
		}
	})
}

func TestActive_NotLoadedIsOfferedWithRetry(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", errNotLoaded)
		w.say("b")
		w.pass(9 * time.Second)
		w.want("1 v1:a", "2 v1:b")
		w.pass(time.Hour)
		if retries := len(w.sink.retries()); retries < 4 || retries > 15 {
			t.Errorf("retried %d times in an hour", retries)
		}
		w.sink.answer("v1:b", nil)
		w.pass(time.Hour)
		if s := w.status(); s.ApplyError != nil || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestFirstTemplate_NotLoadedKeepsWhatAnEarlierRunApplied(t *testing.T) {
	store := newFakeStateStore()
	doc := sdk.Document{Pipeline: "p", Generation: 7, Files: []sdk.File{{Name: "haproxy.cfg", Content: []byte("old:a")}}}
	doc.Digest = sdk.DigestOf(doc.Files)
	store.SaveAppliedDocument("p", AppliedDocument{Document: doc})
	playRemembering(t, store, func(w *world) {
		w.sink.answer("v1:a", errNotLoaded)
		w.say("a")
		w.pass(time.Hour)
		w.want("7 old:a", "8 v1:a")
		w.sink.answer("v1:a", nil)
		w.request()
		w.want("7 old:a", "8 v1:a", "8 v1:a")
	})
}

// The loss of a document may be told while a newer one is applied, which then is in effect.
func TestLost_OfADocumentThatWasReplacedChangesNothing(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		lost := w.status().Digest
		w.say("b")
		w.lose(sdk.Lost{Err: errNotLoaded, Digest: lost})
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v1:b")
		if s := w.status(); s.Generation != 2 || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		w.lose(sdk.Lost{Err: errNotLoaded, Generation: 1, Digest: w.status().Digest})
		if s := w.status(); s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestLost_DocumentOfAnEditedTemplateBringsThePreviousTemplateBack(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.edit("v2")
		w.want("1 v1:a", "2 v2:a")
		w.lose(sdk.Lost{Err: errNotLoaded, Generation: 1})
		w.want("1 v1:a", "2 v2:a", "3 v1:a")
		if s := w.status(); !isNotLoaded(s.TemplateError) || s.ApplyError != nil {
			t.Errorf("status %+v", s)
		}
		w.say("b")
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v2:a", "3 v1:a", "4 v1:b")
	})
}

func TestLost_DocumentOfAProvenTemplateIsRetriedLater(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.edit("v2")
		w.say("b")
		w.lose(sdk.Lost{Err: errNotLoaded, Generation: 2})
		w.want("1 v1:a", "2 v2:a", "3 v2:b")
		if s := w.status(); s.TemplateError != nil || !isNotLoaded(s.ApplyError) || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
		w.say("c")
		w.want("1 v1:a", "2 v2:a", "3 v2:b", "4 v2:c")
	})
}

func TestLost_AnyOtherReasonOffersTheDocumentAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.say("b")
		w.sink.answer("v1:b", sdk.Rejectf("line 3 is wrong"))
		w.lose(sdk.Lost{Err: errors.New("taken back"), Generation: 1})
		w.want("1 v1:a", "2 v1:b", "2 v1:b")
		s := w.status()
		if !errors.Is(s.ApplyError, sdk.ErrRejected) || s.Last.Trigger != TriggerLost {
			t.Errorf("status %+v", s)
		}
	})
}

func TestLost_DocumentIsNotKeptForARestart(t *testing.T) {
	store := newFakeStateStore()
	playRemembering(t, store, func(w *world) {
		w.say("a")
		w.lose(sdk.Lost{Err: errNotLoaded})
	})
	if kept, _ := store.AppliedDocument("p"); kept.Document.Digest != "" {
		t.Errorf("kept generation %d", kept.Document.Generation)
	}
}
