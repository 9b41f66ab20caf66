package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// later puts a document off for a while that is like no backoff's.
func later() error { return sdk.Deferred("one reload in 4321 ms", 4321*time.Millisecond) }

func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestADeferredDocumentIsOfferedAgainAtThatTime(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		began := time.Now()
		s := w.status()
		if s.ApplyError != nil || s.Generation != 1 || !errors.Is(s.Last.Err, sdk.ErrDeferred) || s.Pending == nil ||
			*s.Pending != (Pending{"one reload in 4321 ms", began.Add(4321 * time.Millisecond)}) {
			t.Errorf("status %+v", s)
		}
		if health := w.engine.Health(w.t.Context())[0]; !health.OK() {
			t.Errorf("health %q", health.Problems)
		}
		for range 3 { // it never backs off
			w.pass(4320 * time.Millisecond)
			before := len(w.sink.texts())
			w.pass(time.Millisecond)
			if after := len(w.sink.texts()); after != before+1 {
				t.Errorf("offered %d times in that millisecond", after-before)
			}
		}
		w.sink.answer("v1:b", nil)
		w.pass(4321 * time.Millisecond)
		w.want("1 v1:a", "2 v1:b", "2 v1:b", "2 v1:b", "2 v1:b", "2 v1:b")
		if s := w.status(); s.Pending != nil || s.Generation != 2 {
			t.Errorf("status %+v", s)
		}
		w.pass(time.Hour)
		if got := len(w.sink.texts()); got != 6 {
			t.Errorf("offered %d times", got)
		}
	})
}

func TestANewerDocumentThanADeferredOneIsOfferedAtOnce(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		w.say("c")
		w.want("1 v1:a", "2 v1:b", "3 v1:c")
		if s := w.status(); s.Pending != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v1:b", "3 v1:c")
	})
}

func TestTheDocumentBeforeADeferredOneReachesTheSinkAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		w.say("a")
		w.want("1 v1:a", "2 v1:b", "3 v1:a")
	})
}

func TestACandidateThatIsDeferredIsNotBlamed(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v2:a", later())
		w.edit("v2")
		if s := w.status(); s.TemplateError != nil || s.Pending == nil {
			t.Errorf("status %+v", s)
		}
		w.want("1 v1:a", "2 v2:a")
		w.sink.answer("v2:a", nil)
		w.pass(4321 * time.Millisecond)
		w.say("b")
		w.want("1 v1:a", "2 v2:a", "2 v2:a", "3 v2:b")
	})
}

func TestAfterACandidateWasDeferredTheDocumentBeforeReachesTheSinkAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v2:a", later())
		w.edit("v2")
		w.edit("v1")
		w.want("1 v1:a", "2 v2:a", "3 v1:a")
	})
}

func TestADeferralEndsTheFailureBefore(t *testing.T) {
	play(t, func(w *world) {
		w.sink.answer("v1:a", errors.New("disk full"))
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		if s := w.status(); s.ApplyError != nil || s.Pending == nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestADeferredDocumentIsOwedWhileNoNewerOneCanBeMade(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		w.sink.answer("v1:c", sdk.Rejectf("no"))
		w.pass(time.Second)
		w.say("c")
		w.want("1 v1:a", "2 v1:b", "3 v1:c")
		w.sink.answer("v1:b", nil)
		w.pass(3320 * time.Millisecond)
		w.want("1 v1:a", "2 v1:b", "3 v1:c")
		w.pass(time.Millisecond)
		w.want("1 v1:a", "2 v1:b", "3 v1:c", "2 v1:b")
		if s := w.status(); s.Generation != 2 || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
		w.pass(time.Hour)
		w.want("1 v1:a", "2 v1:b", "3 v1:c", "2 v1:b")
	})
}

func TestADeferralOfNothingIsNoHotLoop(t *testing.T) {
	play(t, func(w *world) {
		w.sink.answer("v1:a", sdk.Deferred("soon", 0))
		w.say("a")
		w.pass(time.Second)
		if got := len(w.sink.texts()); got < 2 || got > 200 {
			t.Errorf("offered %d times in a second", got)
		}
	})
}

func TestWhoIsLeftOutShowsWhileTheRestIsDeferred(t *testing.T) {
	playLines(t, func(w *world) {
		w.sink.answer("lines\nservice chat\nserver chat/1 ok", later())
		w.list("chat/1 ok", "web/1 bad")
		if s := w.status(); s.Pending == nil || w.excluded() != "web/1" {
			t.Errorf("status %+v", s)
		}
		w.sink.answer("lines\nservice chat\nserver chat/1 ok", nil)
		w.pass(4321 * time.Millisecond)
		w.wantLive("web/1", "service chat", "server chat/1 ok")
		if got := strings.Join(w.sink.texts(), "|"); strings.Count(got, "web") != 2 {
			t.Errorf("the whole was offered again: %s", got)
		}
	})
}
