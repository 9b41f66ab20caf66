package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// fakeInputs are files in memory.
type fakeInputs struct {
	changed signal
	mu      sync.Mutex
	files   map[string]string
}

func (p *fakeInputs) Patterns() []string { return []string{"/certs/*"} }

func (p *fakeInputs) Read() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.files)
}

func (p *fakeInputs) Watch(ctx context.Context, changed func(map[string]string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed(p.Read())
		}
	}
}

func (p *fakeInputs) write(path, content string) {
	p.mu.Lock()
	p.files[path] = content
	p.mu.Unlock()
	p.changed.raise()
	synctest.Wait()
}

// rereadingSink is a fakeSink with Reread.
type rereadingSink struct {
	*fakeSink
	rereads  []sdk.Watched
	failures error // returned by Reread
	changed  bool  // there is something to load
}

func (s *rereadingSink) Reread(_ context.Context, watched sdk.Watched) (sdk.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rereads = append(s.rereads, watched)
	if s.failures != nil || !s.changed {
		return sdk.Result{Action: sdk.ActionUnchanged}, s.failures
	}
	s.changed = false
	return sdk.Result{Action: sdk.ActionReload, Reason: "a file changed"}, nil
}

// lastReread returns the argument of the last call of Reread and the number of calls.
func (s *rereadingSink) lastReread() (newest sdk.Watched, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rereads) > 0 {
		newest = s.rereads[len(s.rereads)-1]
	}
	return newest, len(s.rereads)
}

func (s *rereadingSink) set(changed bool, answer error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed, s.failures = changed, answer
}

// runInputs is runEngine with a rereadingSink and a pipeline that watches a file.
func runInputs(t *testing.T, test func(env *testEnv, sink *rereadingSink, files *fakeInputs)) {
	synctest.Test(t, func(t *testing.T) {
		sink := &rereadingSink{fakeSink: newFakeSink()}
		files := &fakeInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		env := newInputsEnv(t, sink, sink.fakeSink, files)
		test(env, sink, files)
	})
}

func newInputsEnv(t *testing.T, sink sdk.Sink, fake *fakeSink, files *fakeInputs) *testEnv {
	env := &testEnv{
		t: t, source: &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, templates: newFakeTemplates("v1"), sink: fake,
	}
	env.engine = startEngine(t, Config{
		Sources:   map[string]SourceConfig{"s": {Source: env.source}},
		Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: env.templates, Sink: sink, Inputs: files}},
		Log:       slog.New(slog.DiscardHandler),
	})
	return env
}

func (env *testEnv) wantRereads(sink *rereadingSink, times int) sdk.Watched {
	env.t.Helper()
	newest, got := sink.lastReread()
	if got != times {
		env.t.Fatalf("Reread was called %d times, want %d", got, times)
	}
	return newest
}

func (env *testEnv) wantInputsError(is bool) {
	env.t.Helper()
	if err := env.status().InputsError; (err != nil) != is || env.engine.Health(env.t.Context())[0].OK() == is {
		env.t.Errorf("error %v does not match the health", err)
	}
}

func TestInputs_ChangeIsLoadedOnce(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.pass(time.Hour)
		env.wantRereads(sink, 0) // no document is applied yet
		env.emitServices("a")
		first := env.wantRereads(sink, 1) // a file may have changed before the start
		if first.ID == "" || len(first.Changed) > 0 || env.sink.docs[0].Watched != first.ID {
			t.Errorf("first %+v, and %q with the document", first, env.sink.docs[0].Watched)
		}
		sink.set(true, nil)
		files.write("/certs/a", "2")
		second := env.wantRereads(sink, 2)
		if !second.ChangedSince(first.ID) || !slices.Equal(second.Changed, []string{"/certs/a"}) {
			t.Errorf("%+v after %+v", second, first)
		}
		last := env.status().Last
		if last.Trigger.Kind != history.TriggerInputs || last.Action != sdk.ActionReload || last.Document != 1 {
			t.Errorf("the newest entry is %+v", last)
		}
		env.emitServices("b")
		env.pass(time.Hour)
		env.wantRereads(sink, 2)
		env.wantApplied("1 v1:a", "3 v1:b")
	})
}

// A file that cannot be loaded is a problem until it is fixed, and does not prevent documents from being applied.
func TestInputs_FailureIsRetried(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.emitServices("a")
		sink.set(true, sdk.RetryAfter(errors.New("a.pem is empty"), 10*time.Second))
		files.write("/certs/a", "")
		env.wantInputsError(true)
		env.emitServices("b")
		env.wantApplied("1 v1:a", "3 v1:b")
		env.pass(10 * time.Minute)
		if _, times := sink.lastReread(); times < 10 || times > 60 {
			t.Errorf("%d calls in ten minutes", times)
		}
		sink.set(true, nil)
		env.pass(time.Minute)
		env.wantInputsError(false)
		_, times := sink.lastReread()
		env.pass(time.Hour)
		env.wantRereads(sink, times)
	})
}

// An attempt that may have interrupted the program is not retried. A successful reload ends the fault.
func TestInputs_NotLoadedIsNotRetried(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.emitServices("a")
		sink.set(true, errNotLoaded)
		files.write("/certs/a", "2")
		env.pass(time.Hour)
		env.wantRereads(sink, 2)
		env.wantInputsError(true)
		sink.set(false, nil)
		env.emitServices("b")
		env.wantInputsError(false)
	})
}

func TestInputs_DeferralIsNoProblem(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.emitServices("a")
		sink.set(true, deferred())
		files.write("/certs/a", "2")
		env.wantInputsError(false)
		sink.set(true, nil)
		env.pass(time.Hour)
		env.wantRereads(sink, 3)
	})
}

// The sink loads the files with the deferred document.
func TestInputs_DeferredDocumentComesFirst(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		files.write("/certs/a", "2")
		env.wantRereads(sink, 1)
		env.sink.setError("v1:b", nil)
		env.pass(time.Hour)
		env.wantRereads(sink, 2)
	})
}

// A deferred document that fails to load does not prevent the files from being loaded.
func TestInputs_DeferredDocumentFailsToLoad(t *testing.T) {
	runInputs(t, func(env *testEnv, sink *rereadingSink, files *fakeInputs) {
		env.emitServices("a")
		env.sink.setError("v1:b", deferred())
		env.emitServices("b")
		env.sink.setError("v1:b", errNotLoaded)
		env.pass(10 * time.Second)
		env.wantRereads(sink, 1)
		files.write("/certs/a", "2")
		env.wantRereads(sink, 2)
	})
}

// A rejected document may be accepted with other files.
func TestInputs_ChangeRetriesRejectedDocument(t *testing.T) {
	runInputs(t, func(env *testEnv, _ *rereadingSink, files *fakeInputs) {
		env.sink.setError("v1:a", sdk.Rejectf("no certificate"))
		env.emitServices("a")
		env.pass(time.Hour)
		env.wantApplied("1 v1:a")
		env.sink.setError("v1:a", nil)
		files.write("/certs/a", "2")
		env.wantApplied("1 v1:a", "1 v1:a")
		if err := env.status().ApplyError; err != nil {
			t.Error(err)
		}
	})
}

// A sink without Reread applies the document again when a watched file has changed.
func TestInputs_SinkWithoutReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &fakeInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		sink := newFakeSink()
		env := newInputsEnv(t, sink, sink, files)
		env.emitServices("a")
		env.wantApplied("1 v1:a")
		env.engine.Reread()
		synctest.Wait()
		env.wantApplied("1 v1:a")
		files.write("/certs/a", "2")
		env.wantApplied("1 v1:a", "1 v1:a")
		env.pass(time.Hour)
		env.wantApplied("1 v1:a", "1 v1:a")
	})
}

func TestInputs_SinkWithoutRereadIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &fakeInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		sink := newFakeSink()
		env := newInputsEnv(t, sink, sink, files)
		env.emitServices("a")
		sink.setError("v1:a", errors.New("busy"))
		files.write("/certs/a", "2")
		env.pass(time.Minute)
		if env.engine.Health(t.Context())[0].OK() {
			t.Error("healthy although the changed file is not loaded")
		}
		sink.setError("v1:a", nil)
		env.pass(time.Minute)
		if health := env.engine.Health(t.Context())[0]; !health.OK() {
			t.Errorf("problems: %q", health.Problems)
		}
		attempts := sink.applies()
		env.pass(time.Hour)
		if again := sink.applies(); attempts < 3 || again != attempts {
			t.Errorf("%d attempts, and %d after it succeeded", attempts, again)
		}
	})
}

// Engine.Apply and Engine.Reread make the sink check the files.
func TestReread_OnRequest(t *testing.T) {
	for name, request := range map[string]func(*Engine){
		history.TriggerRequest: func(e *Engine) { _ = e.Apply("p", "192.0.2.9") },
		history.TriggerReread:  func(e *Engine) { e.Reread() },
	} {
		t.Run(name, func(t *testing.T) {
			runInputs(t, func(env *testEnv, sink *rereadingSink, _ *fakeInputs) {
				env.emitServices("a")
				sink.set(true, nil)
				request(env.engine)
				synctest.Wait()
				env.wantRereads(sink, 2)
				if last := env.status().Last; last.Trigger.Kind != name || last.Action != sdk.ActionReload {
					t.Errorf("the newest entry is %+v", last)
				}
				if now := len(env.sink.applied()); name == history.TriggerReread && now != 1 {
					t.Errorf("the document was applied %d times", now)
				}
			})
		})
	}
}

func TestChangedFiles(t *testing.T) {
	before := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "same": "1"}
	now := map[string]string{"a": "2", "b": "2", "e\xff": "1", "same": "1"}
	if got, want := changedFiles(before, now), []string{"a", "b", "c", "and 2 more"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := changedFiles(before, before); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
