package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipeline_NoSnapshot(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.edit("v2")
		time.Sleep(time.Hour)
		env.wantApplied()
		env.emitServices("web")
		env.wantApplied("1 v2:web")
	})
}

func TestPipeline_NewestSnapshotWins(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		gate := make(chan struct{})
		env.sink.gate = gate
		env.emitServices("a")
		env.emitServices("b")
		env.emitServices("c")
		close(gate)
		synctest.Wait()
		env.wantApplied("1 v1:a", "2 v1:c")
	})
}

func TestPipeline_UnchangedDocumentIsNotApplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		time.Sleep(time.Minute) // Updated moves
		env.emitServices("web")
		env.edit("v1")
		env.wantApplied("1 v1:web")
	})
}

func TestApply_FailureIsRetried(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.setError("v1:web", errors.New("disk full"))
		env.emitServices("web")
		if env.status().ApplyError == nil || env.engine.Health(env.t.Context())[0].OK() {
			t.Error("the failure is not in the status or health")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := len(env.sink.applied())
		if before < 3 {
			t.Errorf("%d attempts in ten seconds", before)
		}
		env.sink.setError("v1:web", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(env.sink.applied()); got != before+1 {
			t.Errorf("%d attempts after it succeeded", got-before-1)
		}
		if s := env.status(); s.ApplyError != nil || s.Generation != 1 || s.Last.Trigger.Kind != history.TriggerSource ||
			s.Last.Attempts != before+1 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestApply_RetryAfter(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.setError("v1:web", sdk.RetryAfter(errors.New("busy"), 10*time.Minute))
		env.emitServices("web")
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		env.wantApplied("1 v1:web")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		env.wantApplied("1 v1:web", "1 v1:web")
	})
}

func TestApply_RejectedDocumentIsNotRetried(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.sink.setError("v1:chat", sdk.Rejectf("line 3 is wrong"))
		env.emitServices("chat")
		time.Sleep(time.Hour)
		env.emitServices("chat")
		env.wantApplied("1 v1:web", "2 v1:chat")
		if s := env.status(); !errors.Is(s.ApplyError, sdk.ErrRejected) || s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
		env.emitServices("web")
		if s := env.status(); s.ApplyError != nil {
			t.Errorf("still %v although the document is applied", s.ApplyError)
		}
	})
}

func TestSinkRestart_DocumentIsReapplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.sink.restarted <- struct{}{}
		synctest.Wait()
		env.wantApplied("1 v1:web", "1 v1:web")
	})
}

func TestTemplate_BrokenEdit(t *testing.T) {
	for _, broken := range []string{"broken", "bad"} {
		t.Run(broken, func(t *testing.T) {
			runEngine(t, func(env *testEnv) {
				env.emitServices("web")
				env.edit(broken)
				if s := env.status(); s.TemplateError == nil || s.ApplyError != nil {
					t.Errorf("status %+v", s)
				}
				env.emitServices("chat")
				env.wantApplied("1 v1:web", "2 v1:chat")
				env.edit("v2")
				env.wantApplied("1 v1:web", "2 v1:chat", "3 v2:chat")
				if err := env.status().TemplateError; err != nil {
					t.Errorf("still %v after the fix", err)
				}
			})
		})
	}
}

func TestTemplate_RejectedCandidateFallsBackToActive(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.sink.setError("v2:web", sdk.Rejectf("no such keyword"))
		env.edit("v2")
		env.emitServices("chat")
		env.wantApplied("1 v1:web", "2 v2:web", "3 v2:chat")
		if s := env.status(); s.TemplateError != nil {
			t.Errorf("v2 is applied with the new snapshot, but %v", s.TemplateError)
		}
		env.sink.setError("v3:chat", sdk.Rejectf("no such keyword"))
		env.sink.setError("v3:dns", sdk.Rejectf("no such keyword"))
		env.edit("v3")
		env.emitServices("dns")
		env.wantApplied("1 v1:web", "2 v2:web", "3 v2:chat", "4 v3:chat", "5 v3:dns", "6 v2:dns")
		if s := env.status(); s.TemplateError == nil || s.ApplyError != nil || s.Generation != 6 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestSource_FailedWatchIsRetried(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.source.emit <- nil
		time.Sleep(time.Minute)
		env.emitServices("chat")
		env.wantApplied("1 v1:web", "2 v1:chat")
	})
}

func TestPipeline_SlowSinkDoesNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newFakeSink(), newFakeSink()
		slow.gate = make(chan struct{})
		src := &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}
		startEngine(t, Config{
			Sources: map[string]SourceConfig{"s": {Source: src}},
			Pipelines: []PipelineConfig{
				{Name: "slow", Source: "s", Templates: newFakeTemplates("a"), Sink: slow},
				{Name: "quick", Source: "s", Templates: newFakeTemplates("b"), Sink: quick},
			},
			Log: slog.New(slog.DiscardHandler),
		})
		for _, name := range []string{"x", "y"} {
			src.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf(name)) }
			synctest.Wait()
		}
		if got := len(quick.applied()); got != 2 {
			t.Errorf("the quick sink got %d documents, want 2", got)
		}
		// Apply still blocks at the end: Run must return all the same.
	})
}

func TestNew_ReportsAllFaults(t *testing.T) {
	_, err := New(Config{
		Sources: map[string]SourceConfig{"s": {Source: &fakeSource{}}},
		Pipelines: []PipelineConfig{
			{Name: "one", Source: "nowhere", Templates: newFakeTemplates("a"), Sink: newFakeSink()},
			{Name: "two", Source: "s", Templates: newFakeTemplates("broken"), Sink: newFakeSink()},
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), `pipeline one has no source "nowhere"`) ||
		!strings.Contains(err.Error(), "pipeline two: haproxy.cfg:1:1: broken") {
		t.Errorf("got %v", err)
	}
}

func TestTemplate_FailingCandidateDoesNotDelaySnapshots(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		for _, services := range []string{"a", "b", "c"} {
			env.sink.setError("v2:"+services, errors.New("port 80 is in use"))
		}
		env.edit("v2")
		env.emitServices("b")
		env.wantApplied("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b")
		s := env.status()
		_, retried := errors.AsType[*CandidateFailedError](s.TemplateError)
		if !retried || s.ApplyError != nil || s.Generation != 4 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(candidateRetry - time.Second)
		synctest.Wait()
		env.wantApplied("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b")
		env.sink.setError("v2:b", nil) // the port is free again
		time.Sleep(time.Minute)
		synctest.Wait()
		env.wantApplied("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b", "5 v2:b")
		if s := env.status(); s.TemplateError != nil {
			t.Errorf("still %v", s.TemplateError)
		}
	})
}

func TestSinkRestart_LastAppliedDocumentIsReapplied(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.sink.setError("v1:chat", sdk.Rejectf("line 3 is wrong"))
		env.emitServices("chat")
		env.sink.restarted <- struct{}{}
		synctest.Wait()
		env.wantApplied("1 v1:web", "2 v1:chat", "1 v1:web", "2 v1:chat")
		if s := env.status(); s.Generation != 1 || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestApply_ZeroRetryAfterBacksOff(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.sink.setError("v1:web", sdk.RetryAfter(errors.New("busy"), 0))
		env.emitServices("web")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := len(env.sink.applied()); got < 2 || got > 50 {
			t.Errorf("%d attempts in ten seconds", got)
		}
	})
}

func TestHealth_BusySink(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		gate := make(chan struct{})
		env.sink.gate = gate
		env.emitServices("web")
		if !env.engine.Health(env.t.Context())[0].OK() {
			t.Error("unhealthy at once")
		}
		time.Sleep(time.Minute)
		if got := env.engine.Health(env.t.Context())[0].Problems; len(got) != 1 || !strings.Contains(got[0], "for 1m0s") {
			t.Errorf("got %q", got)
		}
		close(gate)
		synctest.Wait()
		if !env.engine.Health(env.t.Context())[0].OK() {
			t.Error("still unhealthy")
		}
	})
}

func TestApply_PreviousDocumentIsReappliedAfterFailure(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.sink.setError("v1:b", errors.New("disk full"))
		env.emitServices("b")
		env.emitServices("a")
		env.wantApplied("1 v1:a", "2 v1:b", "3 v1:a")
		if s := env.status(); s.ApplyError != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestNotes_AreBounded(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.edit("notes")
		var services []string
		for n := range 1000 {
			services = append(services, fmt.Sprintf("s%04d", n))
		}
		env.emitServices(services[:100]...)
		if notes := env.status().Notes; len(notes) != 100 {
			t.Errorf("%d of 100 notes are kept", len(notes))
		}
		env.emitServices(services...)
		want := append(slices.Clone(services[:100]), "and 900 more")
		if status := env.status(); !slices.Equal(status.Notes, want) || !slices.Equal(status.Last.Notes, want) {
			t.Errorf("got %q in the status and %q in the history, want %q", status.Notes, status.Last.Notes, want)
		}
	})
}

// slowHealthSink is a sink whose Health blocks until release is closed.
type slowHealthSink struct {
	*fakeSink
	calls   atomic.Int64
	release chan struct{}
}

func (s *slowHealthSink) Health(ctx context.Context) (sdk.Health, error) {
	s.calls.Add(1)
	select {
	case <-s.release:
		return sdk.Health{Problems: []string{"slow"}}, nil
	case <-ctx.Done():
		return sdk.Health{}, ctx.Err()
	}
}

func TestHealth_HungSinkDelaysOnlyFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowHealthSink{fakeSink: newFakeSink(), release: make(chan struct{})}
		src := &source{observer: NoObserver{}}
		p := newPipeline(PipelineConfig{Name: "p", Sink: sink}, nil, src, slog.New(slog.DiscardHandler))
		took := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now() // the fake time of synctest
			if len(p.health(ctx).Problems) != 1 {
				t.Error("a hung sink is not a problem")
			}
			return time.Since(began)
		}
		if first := took(); first != time.Second {
			t.Errorf("the first call took %s", first)
		}
		for range 10 {
			if next := took(); next != unresponsiveTimeout {
				t.Errorf("the next call took %s", next)
			}
		}
		close(sink.release)
		synctest.Wait()
		if p.healthCalls.unresponsive.Load() {
			t.Error("still unresponsive after it has answered")
		}
	})
}

func TestHealth_ConcurrentCallsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowHealthSink{fakeSink: newFakeSink(), release: make(chan struct{})}
		src := &source{observer: NoObserver{}}
		p := newPipeline(PipelineConfig{Name: "p", Sink: sink}, nil, src, slog.New(slog.DiscardHandler))
		var callers sync.WaitGroup
		call := func(ctx context.Context) {
			if got := p.health(ctx).Problems; len(got) != 1 || got[0] != "slow" {
				t.Errorf("got %q", got)
			}
		}
		impatient, cancel := context.WithCancel(t.Context())
		callers.Go(func() {
			if got := p.health(impatient).Problems; len(got) != 1 || got[0] != "the sink does not answer" {
				t.Errorf("the cancelled call got %q", got)
			}
		})
		for range 100 {
			callers.Go(func() { call(t.Context()) })
		}
		synctest.Wait()
		cancel() // the first caller must not cancel the shared call
		synctest.Wait()
		close(sink.release)
		callers.Wait()
		if n := sink.calls.Load(); n != 1 {
			t.Errorf("the sink was called %d times", n)
		}
		if call(t.Context()); sink.calls.Load() != 2 {
			t.Error("a later call got the earlier result")
		}
	})
}
