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

// levelRecorder records the levels of the log lines that have an error, and of those that end a fault.
type levelRecorder struct {
	mu     sync.Mutex
	levels []slog.Level
}

func (r *levelRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *levelRecorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *levelRecorder) WithGroup(string) slog.Handler            { return r }

func (r *levelRecorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if record.Level == slog.LevelError || record.Message == "documents are applied again" {
		r.levels = append(r.levels, record.Level)
	}
	return nil
}

func (r *levelRecorder) take() []slog.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	levels := r.levels
	r.levels = nil
	return levels
}

// applyRecorder is an observer that records what became of documents.
type applyRecorder struct {
	Observer
	mu       sync.Mutex
	outcomes []error
}

func (r *applyRecorder) Applied(e Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, e.Err)
}

func (r *applyRecorder) take() (done, failed int) {
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
	runEngine(t, func(env *testEnv) {
		var log levelRecorder
		env.engine.current().pipelines[0].log = slog.New(&log)
		env.emitServices("a")
		want := func(levels ...slog.Level) {
			t.Helper()
			if got := log.take(); !slices.Equal(got, levels) {
				t.Errorf("logged %v, want %v", got, levels)
			}
		}
		want()
		env.sink.setError("v1:b", errors.New("busy"))
		env.emitServices("b")
		want(slog.LevelError)
		time.Sleep(time.Hour) // with many attempts
		want()
		env.sink.setError("v1:b", errors.New("full"))
		time.Sleep(time.Minute)
		want(slog.LevelError)
		env.sink.setError("v1:b", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		want(slog.LevelInfo)
		env.emitServices("c")
		want()
	})
}

// Retrying an excluded instance is not a failure of the pipeline.
func TestExclusion_RetriesAreNotFailures(t *testing.T) {
	runLines(t, func(env *testEnv) {
		applies := &applyRecorder{Observer: env.engine.current().pipelines[0].observer}
		env.engine.current().pipelines[0].observer = applies
		env.setCheck(temporary(rejectWords("bad")))
		env.emitInstances("chat/1 ok", "web/1 bad")
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if done, failed := applies.take(); done != 1 || failed != 0 {
			t.Errorf("%d documents applied and %d failed, want 1 and 0", done, failed)
		}
		env.setCheck(func(sdk.Document) error { return errors.New("full") })
		env.emitInstances("chat/2 ok")
		if done, failed := applies.take(); done != 0 || failed != 1 {
			t.Errorf("%d documents applied and %d failed, want 0 and 1", done, failed)
		}
	})
}
