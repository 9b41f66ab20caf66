package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// testEnv is an engine with one pipeline of fake components.
type testEnv struct {
	t         *testing.T
	engine    *Engine
	source    *fakeSource
	templates *fakeTemplates
	sink      *fakeSink
}

// runEngine runs test with a running engine in a synctest bubble, and stops the engine afterwards.
func runEngine(t *testing.T, test func(env *testEnv)) { runWithStore(t, noStateStore{}, test) }

// runWithStore is runEngine with a state store.
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
		env.engine = startEngine(t, Config{
			Sources:    map[string]SourceConfig{"s": {Source: env.source, Guard: guard}},
			Pipelines:  []PipelineConfig{pipeline},
			Log:        slog.New(slog.DiscardHandler),
			StateStore: store,
		})
		test(env)
	})
}

// startEngine runs an engine until the end of the test. It must be called in a synctest bubble, and returns when the engine
// is idle.
func startEngine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	engine, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if store, ok := cfg.StateStore.(*fakeStateStore); ok {
		t.Cleanup(store.closeHistories) // after the engine has stopped
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
	return engine
}

// emitServices emits a snapshot with the named services and waits until the engine is idle.
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
		env.t.Fatalf("the sink was passed %q, want %q", got, applied)
	}
}

func (env *testEnv) status() PipelineStatus { return env.engine.Status()[0] }

// changes returns the history, oldest first.
func (env *testEnv) changes() []history.Change {
	log, err := env.engine.History("p")
	if err != nil {
		env.t.Fatal(err)
	}
	changes, _ := log.List(0, 1000)
	slices.Reverse(changes)
	return changes
}

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
				return errors.New("connection closed")
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
	endless int // renderings of an endlessTemplate

	observe func(call string) // called by an observedTemplate
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
	case strings.HasPrefix(p.text, "nondeterministic"):
		return nondeterministicTemplate{fakeTemplate(p.text)}, nil
	case strings.HasPrefix(p.text, "observed"):
		return observedTemplate{fakeTemplate(p.text), p.observe}, nil
	case strings.HasPrefix(p.text, "endless"):
		return endlessTemplate{&p.endless}, nil
	}
	return fakeTemplate(p.text), nil
}

func (p *fakeTemplates) Watch(ctx context.Context, changed func(path string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed("haproxy.cfg.tmpl")
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

// fakeSink applies every document, unless failures has an error for its text or check returns one. Apply blocks while gate is
// open.
type fakeSink struct {
	restarted chan struct{}
	lost      chan sdk.Lost
	events    chan sdk.Event

	mu       sync.Mutex
	docs     []sdk.Document
	failures map[string]error
	check    func(sdk.Document) error // nil to accept every document
	gate     chan struct{}

	result       sdk.Result    // ActionReload if it is empty
	takes        time.Duration // for each document that begins with slow
	slow         string
	ignoreCancel bool    // Apply continues after its context is cancelled
	results      []error // of each document
}

func newFakeSink() *fakeSink {
	return &fakeSink{
		restarted: make(chan struct{}, 1), lost: make(chan sdk.Lost, 1), events: make(chan sdk.Event, 10),
		failures: map[string]error{},
	}
}

func (s *fakeSink) Restarted() <-chan struct{} { return s.restarted }

func (s *fakeSink) Events() <-chan sdk.Event { return s.events }

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
	result := s.result
	if result.Action == "" {
		result.Action = sdk.ActionReload
	}
	return result, err
}

// outcomes returns the results of finished calls of Apply.
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
