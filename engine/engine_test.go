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

// world is an engine with one pipeline whose every part is played by the test.
type world struct {
	t         *testing.T
	engine    *Engine
	source    *playedSource
	templates *playedTemplates
	sink      *playedSink
}

// play runs scene in a bubble of fake time with everything started, and stops it all at the end.
func play(t *testing.T, scene func(w *world)) { playRemembering(t, noStateStore{}, scene) }

// playRemembering is play with what an earlier run left behind.
func playRemembering(t *testing.T, store StateStore, scene func(w *world)) {
	playWith(t, store, "v1", Guard{}, scene)
}

func playWith(t *testing.T, store StateStore, template string, guard Guard, scene func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, source: &playedSource{emit: make(chan func(func(sdk.Snapshot)))},
			templates: newPlayedTemplates(template), sink: newPlayedSink(),
		}
		pipeline := PipelineConfig{Name: "p", Source: "s", Templates: w.templates, Sink: w.sink, Conflicts: sameClaims}
		engine, err := New(Config{
			Sources:    map[string]SourceConfig{"s": {Source: w.source, Guard: guard}},
			Pipelines:  []PipelineConfig{pipeline},
			Log:        slog.New(slog.DiscardHandler),
			StateStore: store,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.engine = engine
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); engine.Run(ctx) }()
		synctest.Wait()
		scene(w)
		cancel()
		<-done
	})
}

// say emits a snapshot with the named services and waits until nothing moves any more.
func (w *world) say(services ...string) {
	w.source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf(services...)) }
	synctest.Wait()
}

func (w *world) edit(text string) {
	w.templates.save(text)
	synctest.Wait()
}

func (w *world) want(applied ...string) {
	w.t.Helper()
	got := w.sink.texts()
	if strings.Join(got, " | ") != strings.Join(applied, " | ") {
		w.t.Fatalf("the sink was offered %q, want %q", got, applied)
	}
}

func (w *world) status() PipelineStatus { return w.engine.Status()[0] }

func snapshotOf(services ...string) sdk.Snapshot {
	var instances []sdk.Instance
	for _, name := range services {
		instances = append(instances, sdk.Instance{ID: "1", Name: name, Hostname: "h", Updated: time.Now()})
	}
	return sdk.Snapshot{Source: "s", Taken: time.Now(), Services: sdk.GroupByName(instances)}
}

type playedSource struct{ emit chan func(func(sdk.Snapshot)) }

func (s *playedSource) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
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

// playedTemplates renders "text:service,service"; text that starts with "broken" does not load, with "bad" does not render.
// One that starts with "lines" is a linesTemplate, and so on.
type playedTemplates struct {
	changed signal
	mu      sync.Mutex
	text    string
	endless int // renderings of an endlessTemplate
}

func newPlayedTemplates(text string) *playedTemplates {
	return &playedTemplates{changed: newSignal(), text: text}
}

func (p *playedTemplates) save(text string) {
	p.mu.Lock()
	p.text = text
	p.mu.Unlock()
	p.changed.raise()
}

func (p *playedTemplates) Load() (Template, error) {
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
		return volatileTemplate{playedTemplate(p.text)}, nil
	case strings.HasPrefix(p.text, "endless"):
		return endlessTemplate{&p.endless}, nil
	}
	return playedTemplate(p.text), nil
}

func (p *playedTemplates) Watch(ctx context.Context, changed func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed()
		}
	}
}

type playedTemplate string

func (p playedTemplate) Render(_ context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
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

// playedSink takes every document unless answers holds an error for its text. gate, when set, holds Apply up.
type playedSink struct {
	restarted chan struct{}
	lost      chan sdk.Lost

	mu      sync.Mutex
	offered []sdk.Document
	answers map[string]error
	judge   func(sdk.Document) error // nil for a sink that has no opinion of its own
	gate    chan struct{}

	takes    time.Duration // for each document that begins with slow
	slow     string
	stubborn bool    // it carries each document through
	ended    []error // of each document
}

func newPlayedSink() *playedSink {
	return &playedSink{restarted: make(chan struct{}, 1), lost: make(chan sdk.Lost, 1), answers: map[string]error{}}
}

func (s *playedSink) Restarted() <-chan struct{} { return s.restarted }

func (s *playedSink) Lost() <-chan sdk.Lost { return s.lost }

func (s *playedSink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	s.mu.Lock()
	s.offered = append(s.offered, doc)
	text := string(doc.Files[0].Content)
	err, gate, takes, stubborn := s.answers[text], s.gate, s.takes, s.stubborn
	if !strings.HasPrefix(text, s.slow) {
		takes = 0
	}
	if err == nil && s.judge != nil {
		err = s.judge(doc)
	}
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return sdk.Result{}, ctx.Err()
		}
	}
	if stubborn {
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
	s.ended = append(s.ended, err)
	return sdk.Result{Action: sdk.ActionReload}, err
}

// outcomes are those of the documents that are no longer under way.
func (s *playedSink) outcomes() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ended)
}

func (s *playedSink) Health(context.Context) (sdk.Health, error) { return sdk.Health{}, nil }

func (s *playedSink) answer(text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[text] = err
}

func (s *playedSink) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for _, doc := range s.offered {
		texts = append(texts, fmt.Sprintf("%d %s", doc.Generation, doc.Files[0].Content))
	}
	return texts
}

func TestNothingIsAppliedBeforeTheFirstSnapshot(t *testing.T) {
	play(t, func(w *world) {
		w.edit("v2")
		time.Sleep(time.Hour)
		w.want()
		w.say("web")
		w.want("1 v2:web")
	})
}

func TestTheNewestSnapshotWins(t *testing.T) {
	play(t, func(w *world) {
		gate := make(chan struct{})
		w.sink.gate = gate
		w.say("a")
		w.say("b")
		w.say("c")
		close(gate)
		synctest.Wait()
		w.want("1 v1:a", "2 v1:c")
	})
}

func TestWhatDidNotChangeIsNotAppliedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		time.Sleep(time.Minute) // Updated moves
		w.say("web")
		w.edit("v1")
		w.want("1 v1:web")
	})
}

func TestAFailureIsTriedAgainUntilItWorks(t *testing.T) {
	play(t, func(w *world) {
		w.sink.answer("v1:web", errors.New("disk full"))
		w.say("web")
		if w.status().ApplyError == nil || w.engine.Health(w.t.Context())[0].OK() {
			t.Error("the failure does not show")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := len(w.sink.texts())
		if before < 3 {
			t.Errorf("tried %d times in ten seconds", before)
		}
		w.sink.answer("v1:web", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(w.sink.texts()); got != before+1 {
			t.Errorf("tried %d times more after it worked", got-before-1)
		}
		if s := w.status(); s.ApplyError != nil || s.Generation != 1 || s.Last.Trigger != TriggerRetry {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAHintSaysWhenToTryAgain(t *testing.T) {
	play(t, func(w *world) {
		w.sink.answer("v1:web", sdk.RetryAfter(errors.New("busy"), 10*time.Minute))
		w.say("web")
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		w.want("1 v1:web")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.want("1 v1:web", "1 v1:web")
	})
}

func TestARejectedDocumentIsNotOfferedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.sink.answer("v1:chat", sdk.Rejectf("line 3 is wrong"))
		w.say("chat")
		time.Sleep(time.Hour)
		w.say("chat")
		w.want("1 v1:web", "2 v1:chat")
		if s := w.status(); !errors.Is(s.ApplyError, sdk.ErrRejected) || s.Generation != 1 {
			t.Errorf("status %+v", s)
		}
		w.say("web")
		if s := w.status(); s.ApplyError != nil {
			t.Errorf("still %v though what is in effect is what is wanted", s.ApplyError)
		}
	})
}

func TestARestartedSinkGetsTheDocumentAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.sink.restarted <- struct{}{}
		synctest.Wait()
		w.want("1 v1:web", "1 v1:web")
	})
}

func TestABrokenTemplateChangesNothing(t *testing.T) {
	for _, broken := range []string{"broken", "bad"} {
		t.Run(broken, func(t *testing.T) {
			play(t, func(w *world) {
				w.say("web")
				w.edit(broken)
				if s := w.status(); s.TemplateError == nil || s.ApplyError != nil {
					t.Errorf("status %+v", s)
				}
				w.say("chat")
				w.want("1 v1:web", "2 v1:chat")
				w.edit("v2")
				w.want("1 v1:web", "2 v1:chat", "3 v2:chat")
				if err := w.status().TemplateError; err != nil {
					t.Errorf("still %v after it was mended", err)
				}
			})
		})
	}
}

func TestATemplateThatTheSinkRejectsGivesWayToTheOneBefore(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.sink.answer("v2:web", sdk.Rejectf("no such keyword"))
		w.edit("v2")
		w.say("chat")
		w.want("1 v1:web", "2 v2:web", "3 v2:chat")
		if s := w.status(); s.TemplateError != nil {
			t.Errorf("v2 works with the new snapshot, yet %v", s.TemplateError)
		}
		w.sink.answer("v3:chat", sdk.Rejectf("no such keyword"))
		w.sink.answer("v3:dns", sdk.Rejectf("no such keyword"))
		w.edit("v3")
		w.say("dns")
		w.want("1 v1:web", "2 v2:web", "3 v2:chat", "4 v3:chat", "5 v3:dns", "6 v2:dns")
		if s := w.status(); s.TemplateError == nil || s.ApplyError != nil || s.Generation != 6 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestASourceThatGivesUpIsAskedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.source.emit <- nil
		time.Sleep(time.Minute)
		w.say("chat")
		w.want("1 v1:web", "2 v1:chat")
	})
}

func TestASlowSinkDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newPlayedSink(), newPlayedSink()
		slow.gate = make(chan struct{})
		src := &playedSource{emit: make(chan func(func(sdk.Snapshot)))}
		engine, err := New(Config{
			Sources: map[string]SourceConfig{"s": {Source: src}},
			Pipelines: []PipelineConfig{
				{Name: "slow", Source: "s", Templates: newPlayedTemplates("a"), Sink: slow},
				{Name: "quick", Source: "s", Templates: newPlayedTemplates("b"), Sink: quick},
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
		if got := len(quick.texts()); got != 2 {
			t.Errorf("the quick sink got %d documents, want 2", got)
		}
		cancel() // Apply is still held: the end must not wait for it
		<-done
	})
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Config{
		Sources: map[string]SourceConfig{"s": {Source: &playedSource{}}},
		Pipelines: []PipelineConfig{
			{Name: "one", Source: "nowhere", Templates: newPlayedTemplates("a"), Sink: newPlayedSink()},
			{Name: "two", Source: "s", Templates: newPlayedTemplates("broken"), Sink: newPlayedSink()},
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), `pipeline one has no source "nowhere"`) ||
		!strings.Contains(err.Error(), "pipeline two: haproxy.cfg:1:1: broken") {
		t.Errorf("got %v", err)
	}
}

func TestATemplateThatCannotGoLiveCostsNobodyAnUpdate(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		for _, services := range []string{"a", "b", "c"} {
			w.sink.answer("v2:"+services, errors.New("port 80 is in use"))
		}
		w.edit("v2")
		w.say("b")
		w.want("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b")
		if s := w.status(); s.TemplateError == nil || s.ApplyError != nil || s.Generation != 4 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(candidateRetry - time.Second)
		synctest.Wait()
		w.want("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b")
		w.sink.answer("v2:b", nil) // the port is free again
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want("1 v1:a", "2 v2:a", "3 v2:b", "4 v1:b", "5 v2:b")
		if s := w.status(); s.TemplateError != nil {
			t.Errorf("still %v", s.TemplateError)
		}
	})
}

func TestARestartedSinkGetsTheLastGoodDocument(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.sink.answer("v1:chat", sdk.Rejectf("line 3 is wrong"))
		w.say("chat")
		w.sink.restarted <- struct{}{}
		synctest.Wait()
		w.want("1 v1:web", "2 v1:chat", "1 v1:web", "2 v1:chat")
		if s := w.status(); s.Generation != 1 || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAHintOfNothingIsNoHotLoop(t *testing.T) {
	play(t, func(w *world) {
		w.sink.answer("v1:web", sdk.RetryAfter(errors.New("busy"), 0))
		w.say("web")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := len(w.sink.texts()); got < 2 || got > 50 {
			t.Errorf("tried %d times in ten seconds", got)
		}
	})
}

func TestASinkThatIsBusyForLongIsAProblem(t *testing.T) {
	play(t, func(w *world) {
		gate := make(chan struct{})
		w.sink.gate = gate
		w.say("web")
		if !w.engine.Health(w.t.Context())[0].OK() {
			t.Error("a problem at once")
		}
		time.Sleep(time.Minute)
		if got := w.engine.Health(w.t.Context())[0].Problems; len(got) != 1 || !strings.Contains(got[0], "for 1m0s") {
			t.Errorf("got %q", got)
		}
		close(gate)
		synctest.Wait()
		if !w.engine.Health(w.t.Context())[0].OK() {
			t.Error("still a problem")
		}
	})
}

func TestAfterAFailureTheDocumentBeforeIsOfferedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.sink.answer("v1:b", errors.New("disk full"))
		w.say("b")
		w.say("a")
		w.want("1 v1:a", "2 v1:b", "3 v1:a")
		if s := w.status(); s.ApplyError != nil || s.Generation != 3 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestOfEndlessNotesTheFirstAreKept(t *testing.T) {
	play(t, func(w *world) {
		w.edit("notes")
		var services []string
		for n := range 1000 {
			services = append(services, fmt.Sprintf("s%04d", n))
		}
		w.say(services[:100]...)
		if notes := w.status().Notes; len(notes) != 100 {
			t.Errorf("of 100 notes %d are kept", len(notes))
		}
		w.say(services...)
		want := append(slices.Clone(services[:100]), "and 900 more")
		if status := w.status(); !slices.Equal(status.Notes, want) || !slices.Equal(status.Last.Notes, want) {
			t.Errorf("kept are %q, and in the ledger %q", status.Notes, status.Last.Notes)
		}
	})
}

// slowToTell is a sink that tells how it is when it is let go on.
type slowToTell struct {
	*playedSink
	asked atomic.Int64
	goOn  chan struct{}
}

func (s *slowToTell) Health(ctx context.Context) (sdk.Health, error) {
	s.asked.Add(1)
	select {
	case <-s.goOn:
		return sdk.Health{Problems: []string{"tired"}}, nil
	case <-ctx.Done():
		return sdk.Health{}, ctx.Err()
	}
}

func TestHealth_AHungSinkDelaysOnlyTheFirstWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowToTell{playedSink: newPlayedSink(), goOn: make(chan struct{})}
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
		close(sink.goOn)
		synctest.Wait()
		if p.unresponsive.Load() {
			t.Error("it is still taken for hung after it has answered")
		}
	})
}

func TestManyWhoAskAtOnceShareOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slowToTell{playedSink: newPlayedSink(), goOn: make(chan struct{})}
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
		close(sink.goOn)
		people.Wait()
		if n := sink.asked.Load(); n != 1 {
			t.Errorf("the sink was asked %d times", n)
		}
		if ask(t.Context()); sink.asked.Load() != 2 {
			t.Error("an answer from before is given")
		}
	})
}
