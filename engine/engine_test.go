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

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEnv is an engine with one pipeline whose every part is played by the test.
type testEnv struct {
	t         *testing.T
	engine    *Engine
	source    *fakeSource
	templates *fakeTemplates
	sink      *fakeSink
}

// play runs test in a bubble of fake time with everything started, and stops it all at the end.
func runEngine(t *testing.T, test func(env *testEnv)) { runWithStore(t, noStateStore{}, test) }

// runWithStore is play with what an earlier run left behind.
func runWithStore(t *testing.T, store StateStore, test func(env *testEnv)) {
	runWith(t, store, "v1", Guard{}, test)
}

func runWith(t *testing.T, store StateStore, template string, guard Guard, test func(env *testEnv)) {
	synctest.Test(t, func(t *testing.T) {
		env := &testEnv{
			t: t, source: &fakeSource{emit: make(chan func(func(sdk.Snapshot)))},
			templates: newFakeTemplates(template), sink: newFakeSink(),
		}
		pipeline := PipelineConfig{Name: "p", Source: "s", Templates: env.templates, Sink: env.sink, Conflicts: testConflicts}
		engine, err := New(Config{
			Sources:    map[string]SourceConfig{"s": {Source: env.source, Guard: guard}},
			Pipelines:  []PipelineConfig{pipeline},
			Log:        slog.New(slog.DiscardHandler),
			StateStore: store,
		})
		if err != nil {
			t.Fatal(err)
		}
		env.engine = engine
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); engine.Run(ctx) }()
		synctest.Wait()
		test(env)
		cancel()
		<-done
	})
}

// emit emits a snapshot with the named services and waits until nothing moves any more.
func (env *testEnv) emitServices(services ...string) {
	env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf(services...)) }
	synctest.Wait()
}

func (env *testEnv) edit(text string) {
	env.templates.save(text)
	synctest.Wait()
}

func (env *testEnv) wantApplied(applied ...string) {
	env.t.Helper()
	got := env.sink.applied()
	if strings.Join(got, " | ") != strings.Join(applied, " | ") {
		env.t.Fatalf("the sink was offered %q, want %q", got, applied)
	}
}

func (env *testEnv) status() PipelineStatus { return env.engine.Status()[0] }

func snapshotOf(services ...string) sdk.Snapshot {
	var instances []sdk.Instance
	for _, name := range services {
		instances = append(instances, sdk.Instance{ID: "1", Name: name, Hostname: "h", Updated: time.Now()})
	}
	return sdk.Snapshot{Source: "s", Taken: time.Now(), Services: sdk.GroupByName(instances)}
}

type fakeSource struct{ emit chan func(func(sdk.Snapshot)) }

func (s *fakeSource) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case act := <-s.emit:
			if act == nil {
				return errors.New("the catalogue is closed")
			}
			act(emit)
		}
	}
}

// fakeTemplates renders "text:service,service"; text that starts with "broken" does not load, with "bad" does not render.
// One that starts with "lines" is a linesTemplate, and so on.
type fakeTemplates struct {
	changed signal
	mu      sync.Mutex
	text    string
	endless int // renderCounter of an endlessTemplate
}

func newFakeTemplates(text string) *fakeTemplates {
	return &fakeTemplates{changed: newSignal(), text: text}
}

func (p *fakeTemplates) save(text string) {
	p.mu.Lock()
	p.text = text
	p.mu.Unlock()
	p.changed.raise()
}

func (p *fakeTemplates) Load() (Template, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(p.text, "broken") {
		return nil, errors.New("haproxy.cfg:1:1: " + p.text)
	}
	if strings.HasPrefix(p.text, "lines") {
		return linesTemplate(p.text), nil
	}
	switch {
	case strings.HasPrefix(p.text, "volatile"):
		return nondeterministicTemplate{fakeTemplate(p.text)}, nil
	case strings.HasPrefix(p.text, "endless"):
		return endlessTemplate{&p.endless}, nil
	}
	return fakeTemplate(p.text), nil
}

func (p *fakeTemplates) Watch(ctx context.Context, changed func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed()
		}
	}
}

type fakeTemplate string

func (p fakeTemplate) Render(_ context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	if strings.HasPrefix(string(p), "bad") {
		return nil, nil, errors.New("haproxy.cfg:1:1: " + string(p))
	}
	var names []string
	for _, s := range snap.Services {
		names = append(names, s.Name)
	}
	text := string(p) + ":" + strings.Join(names, ",")
	var notes []string
	if strings.HasPrefix(string(p), "notes") {
		notes = names
	}
	return []sdk.File{{Name: "haproxy.cfg", Content: []byte(text)}}, notes, nil
}

// fakeSink takes every document unless failures holds an error for its text. gate, when set, holds Apply up.
type fakeSink struct {
	restarted chan struct{}
	lost      chan sdk.Lost

	mu       sync.Mutex
	docs     []sdk.Document
	failures map[string]error
	check    func(sdk.Document) error // nil for a sink that has no opinion of its own
	gate     chan struct{}

	takes        time.Duration // for each document that begins with slow
	slow         string
	ignoreCancel bool    // it carries each document through
	results      []error // of each document
}

func newFakeSink() *fakeSink {
	return &fakeSink{restarted: make(chan struct{}, 1), lost: make(chan sdk.Lost, 1), failures: map[string]error{}}
}

func (s *fakeSink) Restarted() <-chan struct{} { return s.restarted }

func (s *fakeSink) Lost() <-chan sdk.Lost { return s.lost }

func (s *fakeSink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	s.mu.Lock()
	s.docs = append(s.docs, doc)
	text := string(doc.Files[0].Content)
	err, gate, takes, ignoreCancel := s.failures[text], s.gate, s.takes, s.ignoreCancel
	if !strings.HasPrefix(text, s.slow) {
		takes = 0
	}
	if err == nil && s.check != nil {
		err = s.check(doc)
	}
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return sdk.Result{}, ctx.Err()
		}
	}
	if ignoreCancel {
		ctx = context.WithoutCancel(ctx)
	}
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, err)
	return sdk.Result{Action: sdk.ActionReload}, err
}

// outcomes are those of the documents that are no longer under way.
func (s *fakeSink) outcomes() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.results)
}

func (s *fakeSink) Health(context.Context) (sdk.Health, error) { return sdk.Health{}, nil }

func (s *fakeSink) setError(text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[text] = err
}

func (s *fakeSink) applied() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, doc := range s.docs {
		texts = append(texts, fmt.Sprintf("%d %s", doc.Generation, doc.Files[0].Content))
	}
	return texts
}

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
			t.Error("the failure does not show")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := len(env.sink.applied())
		if before < 3 {
			t.Errorf("tried %d times in ten seconds", before)
		}
		env.sink.setError("v1:web", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(env.sink.applied()); got != before+1 {
			t.Errorf("tried %d times more after it worked", got-before-1)
		}
		if s := env.status(); s.ApplyError != nil || s.Generation != 1 || s.Last.Trigger != TriggerRetry {
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
			t.Errorf("still %v though what is in effect is what is wanted", s.ApplyError)
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
					t.Errorf("still %v after it was mended", err)
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
			t.Errorf("v2 works with the new snapshot, yet %v", s.TemplateError)
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
		engine, err := New(Config{
			Sources: map[string]SourceConfig{"s": {Source: src}},
			Pipelines: []PipelineConfig{
				{Name: "slow", Source: "s", Templates: newFakeTemplates("a"), Sink: slow},
				{Name: "quick", Source: "s", Templates: newFakeTemplates("b"), Sink: quick},
			},
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); engine.Run(ctx) }()
		for _, name := range []string{"x", "y"} {
			src.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf(name)) }
			synctest.Wait()
		}
		if got := len(quick.applied()); got != 2 {
			t.Errorf("the quick sink got %d documents, want 2", got)
		}
		cancel() // Apply is still held: the end must not wait for it
		<-done
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
		if s := env.status(); s.TemplateError == nil || s.ApplyError != nil || s.Generation != 4 {
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
			t.Errorf("tried %d times in ten seconds", got)
		}
	})
}

func TestHealth_BusySink(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		gate := make(chan struct{})
		env.sink.gate = gate
		env.emitServices("web")
		if !env.engine.Health(env.t.Context())[0].OK() {
			t.Error("a problem at once")
		}
		time.Sleep(time.Minute)
		if got := env.engine.Health(env.t.Context())[0].Problems; len(got) != 1 || !strings.Contains(got[0], "for 1m0s") {
			t.Errorf("got %q", got)
		}
		close(gate)
		synctest.Wait()
		if !env.engine.Health(env.t.Context())[0].OK() {
			t.Error("still a problem")
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
			t.Errorf("of 100 notes %d are kept", len(notes))
		}
		env.emitServices(services...)
		want := append(slices.Clone(services[:100]), "and 900 more")
		if status := env.status(); !slices.Equal(status.Notes, want) || !slices.Equal(status.Last.Notes, want) {
			t.Errorf("kept are %q, and in the ledger %q", status.Notes, status.Last.Notes)
		}
	})
}

// slowHealthSink is a sink that tells how it is when it is let go on.
type slowHealthSink struct {
	*fakeSink
	calls   atomic.Int64
	release chan struct{}
}

func (s *slowHealthSink) Health(ctx context.Context) (sdk.Health, error) {
	s.calls.Add(1)
	select {
	case <-s.release:
		return sdk.Health{Problems: []string{"tired"}}, nil
	case <-ctx.Done():
		return sdk.Health{}, ctx.Err()
	}
}

func TestHealth_HungSinkDelaysOnlyFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowHealthSink{fakeSink: newFakeSink(), release: make(chan struct{})}
		p := newPipeline(PipelineConfig{Name: "p", Sink: sink}, nil, &source{}, slog.New(slog.DiscardHandler))
		took := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now() // of the bubble: nothing is measured
			if len(p.health(ctx).Problems) != 1 {
				t.Error("a sink that hangs is no problem")
			}
			return time.Since(began)
		}
		if first := took(); first != time.Second {
			t.Errorf("the first waited %s", first)
		}
		for range 10 {
			if next := took(); next != unresponsiveTimeout {
				t.Errorf("the next waited %s", next)
			}
		}
		close(sink.release)
		synctest.Wait()
		if p.unresponsive.Load() {
			t.Error("it is still taken for hung after it has answered")
		}
	})
}

func TestHealth_ConcurrentCallsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowHealthSink{fakeSink: newFakeSink(), release: make(chan struct{})}
		p := newPipeline(PipelineConfig{Name: "p", Sink: sink}, nil, &source{}, slog.New(slog.DiscardHandler))
		var people sync.WaitGroup
		ask := func(ctx context.Context) {
			if got := p.health(ctx).Problems; len(got) != 1 || got[0] != "tired" {
				t.Errorf("got %q", got)
			}
		}
		hasty, cancel := context.WithCancel(t.Context())
		people.Go(func() {
			if got := p.health(hasty).Problems; len(got) != 1 || got[0] != "the sink does not answer" {
				t.Errorf("the hasty one got %q", got)
			}
		})
		for range 100 {
			people.Go(func() { ask(t.Context()) })
		}
		synctest.Wait()
		cancel() // the first to ask does not take the others' answer away
		synctest.Wait()
		close(sink.release)
		people.Wait()
		if n := sink.calls.Load(); n != 1 {
			t.Errorf("the sink was asked %d times", n)
		}
		if ask(t.Context()); sink.calls.Load() != 2 {
			t.Error("an answer from before is given")
		}
	})
}
