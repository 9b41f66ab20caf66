package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// recordedLevels records the levels of the log lines that have an error, and of those that end a fault.
type recordedLevels struct {
	mu     sync.Mutex
	levels []slog.Level
}

func (r *recordedLevels) Enabled(context.Context, slog.Level) bool { return true }
func (r *recordedLevels) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recordedLevels) WithGroup(string) slog.Handler            { return r }

func (r *recordedLevels) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Level == slog.LevelError || record.Message == "documents are applied again" {
		r.levels = append(r.levels, record.Level)
	}
	return nil
}

func (r *recordedLevels) take() []slog.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	levels := r.levels
	r.levels = nil
	return levels
}

// recordedApplies is an observer that records what became of documents.
type recordedApplies struct {
	Observer
	mu       sync.Mutex
	outcomes []error
}

func (r *recordedApplies) Applied(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, e.Err)
}

func (r *recordedApplies) take() (done, failed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.outcomes {
		if err == nil {
			done++
		} else {
			failed++
		}
	}
	r.outcomes = nil
	return done, failed
}

func TestFault_IsLoggedWhenItBeginsChangesAndEnds(t *testing.T) {
	play(t, func(w *world) {
		var log recordedLevels
		w.engine.current().pipelines[0].log = slog.New(&log)
		w.say("a")
		want := func(levels ...slog.Level) {
			t.Helper()
			if got := log.take(); !slices.Equal(got, levels) {
				t.Errorf("logged %v, want %v", got, levels)
			}
		}
		want()
		w.sink.answer("v1:b", errors.New("busy"))
		w.say("b")
		want(slog.LevelError)
		time.Sleep(time.Hour) // it is tried again and again
		want()
		w.sink.answer("v1:b", errors.New("full"))
		time.Sleep(time.Minute)
		want(slog.LevelError)
		w.sink.answer("v1:b", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		want(slog.LevelInfo)
		w.say("c")
		want()
	})
}

// An instance that is excluded, and tried again from time to time, is no failure of the pipeline.
func TestExclusion_RetriesAreNoFailures(t *testing.T) {
	playLines(t, func(w *world) {
		applies := &recordedApplies{Observer: w.engine.current().pipelines[0].observer}
		w.engine.current().pipelines[0].observer = applies
		w.judges(forNow(rejecting("bad")))
		w.list("chat/1 ok", "web/1 bad")
		w.wantLive("web/1", "service chat", "server chat/1 ok")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if done, failed := applies.take(); done != 1 || failed != 0 {
			t.Errorf("%d documents done and %d failed, want 1 and 0", done, failed)
		}
		w.judges(func(sdk.Document) error { return errors.New("full") })
		w.list("chat/2 ok")
		if done, failed := applies.take(); done != 0 || failed != 1 {
			t.Errorf("%d documents done and %d failed, want 0 and 1", done, failed)
		}
	})
}
