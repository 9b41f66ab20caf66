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

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// playedInputs are files that exist in the test only.
type playedInputs struct {
	changed signal
	mu      sync.Mutex
	files   map[string]string
}

func (p *playedInputs) Patterns() []string { return []string{"/certs/*"} }

func (p *playedInputs) Read() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.files)
}

func (p *playedInputs) Watch(ctx context.Context, changed func(map[string]string)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
			changed(p.Read())
		}
	}
}

func (p *playedInputs) write(path, content string) {
	p.mu.Lock()
	p.files[path] = content
	p.mu.Unlock()
	p.changed.raise()
	synctest.Wait()
}

// rereadingSink is a playedSink that knows what its program reads.
type rereadingSink struct {
	*playedSink
	rereads []sdk.Watched
	answers error // to each call of Reread
	changed bool  // there is something to load
}

func (s *rereadingSink) Reread(_ context.Context, watched sdk.Watched) (sdk.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rereads = append(s.rereads, watched)
	if s.answers != nil || !s.changed {
		return sdk.Result{Action: sdk.ActionUnchanged}, s.answers
	}
	s.changed = false
	return sdk.Result{Action: sdk.ActionReload, Reason: "a file changed"}, nil
}

// asked returns with what Reread was called, and how often.
func (s *rereadingSink) asked() (newest sdk.Watched, times int) {
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
	s.changed, s.answers = changed, answer
}

// playInputs is play with a sink that knows what its program reads, and a pipeline that watches a file.
func playInputs(t *testing.T, scene func(w *world, sink *rereadingSink, files *playedInputs)) {
	synctest.Test(t, func(t *testing.T) {
		sink := &rereadingSink{playedSink: newPlayedSink()}
		files := &playedInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		w := newWatchingWorld(t, sink, sink.playedSink, files)
		scene(w, sink, files)
	})
}

func newWatchingWorld(t *testing.T, sink sdk.Sink, played *playedSink, files *playedInputs) *world {
	w := &world{
		t: t, source: &playedSource{emit: make(chan func(func(sdk.Snapshot)))}, templates: newPlayedTemplates("v1"), sink: played,
	}
	engine, err := New(Config{
		Sources:   map[string]SourceConfig{"s": {Source: w.source}},
		Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: w.templates, Sink: sink, Inputs: files}},
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.engine = engine
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	synctest.Wait()
	return w
}

func (w *world) wantRereads(sink *rereadingSink, times int) sdk.Watched {
	w.t.Helper()
	newest, got := sink.asked()
	if got != times {
		w.t.Fatalf("the sink was asked %d times, want %d", got, times)
	}
	return newest
}

func (w *world) wantInputsError(is bool) {
	w.t.Helper()
	if err := w.status().InputsError; (err != nil) != is || w.engine.Health(w.t.Context())[0].OK() == is {
		w.t.Errorf("the error is %v, and health tells otherwise", err)
	}
}

func TestInputs_AChangeIsLoadedOnce(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.pass(time.Hour)
		w.wantRereads(sink, 0) // there is nothing yet
		w.say("a")
		first := w.wantRereads(sink, 1) // something may have changed before the start
		if first.ID == "" || len(first.Changed) > 0 || w.sink.offered[0].Watched != first.ID {
			t.Errorf("first %+v, and %q with the document", first, w.sink.offered[0].Watched)
		}
		sink.set(true, nil)
		files.write("/certs/a", "2")
		second := w.wantRereads(sink, 2)
		if !second.ChangedSince(first.ID) || !slices.Equal(second.Changed, []string{"/certs/a"}) {
			t.Errorf("%+v after %+v", second, first)
		}
		last := w.status().Last
		if last.Trigger != TriggerInputs || last.Result.Action != sdk.ActionReload || last.Generation != 1 {
			t.Errorf("the newest entry is %+v", last)
		}
		w.say("b")
		w.pass(time.Hour)
		w.wantRereads(sink, 2)
		w.want("1 v1:a", "2 v1:b")
	})
}

// A file that cannot be loaded is a problem that is told, stops no document, and is over when it is mended.
func TestInputs_AFailureIsRetried(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.say("a")
		sink.set(true, sdk.RetryAfter(errors.New("a.pem is empty"), 10*time.Second))
		files.write("/certs/a", "")
		w.wantInputsError(true)
		w.say("b")
		w.want("1 v1:a", "2 v1:b")
		w.pass(10 * time.Minute)
		if _, times := sink.asked(); times < 10 || times > 60 {
			t.Errorf("asked %d times in ten minutes", times)
		}
		sink.set(true, nil)
		w.pass(time.Minute)
		w.wantInputsError(false)
		_, times := sink.asked()
		w.pass(time.Hour)
		w.wantRereads(sink, times)
	})
}

// What may have interrupted the program is not tried again by itself. A reload that works is the end of it.
func TestInputs_WhatFailedToLoadIsNotRetried(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.say("a")
		sink.set(true, errNotLoaded)
		files.write("/certs/a", "2")
		w.pass(time.Hour)
		w.wantRereads(sink, 2)
		w.wantInputsError(true)
		sink.set(false, nil)
		w.say("b")
		w.wantInputsError(false)
	})
}

func TestInputs_ADeferralIsNoProblem(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.say("a")
		sink.set(true, later())
		files.write("/certs/a", "2")
		w.wantInputsError(false)
		sink.set(true, nil)
		w.pass(time.Hour)
		w.wantRereads(sink, 3)
	})
}

// A deferred document brings the files with it.
func TestInputs_ADeferredDocumentComesFirst(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		files.write("/certs/a", "2")
		w.wantRereads(sink, 1)
		w.sink.answer("v1:b", nil)
		w.pass(time.Hour)
		w.wantRereads(sink, 2)
	})
}

// One that then fails to load does not keep the files from being loaded.
func TestInputs_ADeferredDocumentThatFailsToLoad(t *testing.T) {
	playInputs(t, func(w *world, sink *rereadingSink, files *playedInputs) {
		w.say("a")
		w.sink.answer("v1:b", later())
		w.say("b")
		w.sink.answer("v1:b", errNotLoaded)
		w.pass(10 * time.Second)
		w.wantRereads(sink, 1)
		files.write("/certs/a", "2")
		w.wantRereads(sink, 2)
	})
}

// A document that was rejected may be good with other files.
func TestInputs_AChangeTriesWhatWasRejected(t *testing.T) {
	playInputs(t, func(w *world, _ *rereadingSink, files *playedInputs) {
		w.sink.answer("v1:a", sdk.Rejectf("no certificate"))
		w.say("a")
		w.pass(time.Hour)
		w.want("1 v1:a")
		w.sink.answer("v1:a", nil)
		files.write("/certs/a", "2")
		w.want("1 v1:a", "1 v1:a")
		if err := w.status().ApplyError; err != nil {
			t.Error(err)
		}
	})
}

// A sink that does not know what its program reads is offered the document again when a watched file changed.
func TestInputs_ASinkThatCannotTellGetsTheDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &playedInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		sink := newPlayedSink()
		w := newWatchingWorld(t, sink, sink, files)
		w.say("a")
		w.want("1 v1:a")
		w.engine.Reread()
		synctest.Wait()
		w.want("1 v1:a")
		files.write("/certs/a", "2")
		w.want("1 v1:a", "1 v1:a")
		w.pass(time.Hour)
		w.want("1 v1:a", "1 v1:a")
	})
}

func TestInputs_ASinkThatCannotTellIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &playedInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		sink := newPlayedSink()
		w := newWatchingWorld(t, sink, sink, files)
		w.say("a")
		sink.answer("v1:a", errors.New("busy"))
		files.write("/certs/a", "2")
		w.pass(time.Minute)
		if w.engine.Health(t.Context())[0].OK() {
			t.Error("healthy although the changed file is not loaded")
		}
		sink.answer("v1:a", nil)
		w.pass(time.Minute)
		if health := w.engine.Health(t.Context())[0]; !health.OK() {
			t.Errorf("problems: %q", health.Problems)
		}
		tries := sink.asked()
		w.pass(time.Hour)
		if again := sink.asked(); tries < 3 || again != tries {
			t.Errorf("offered %d times, and %d times after it worked", tries, again)
		}
	})
}

// Somebody who asks, by Apply or Reread, has the sink look at the files.
func TestReread_IsAsked(t *testing.T) {
	for name, ask := range map[string]func(*Engine){
		TriggerRequest: func(e *Engine) { _ = e.Apply("p") },
		TriggerReread:  func(e *Engine) { e.Reread() },
	} {
		t.Run(name, func(t *testing.T) {
			playInputs(t, func(w *world, sink *rereadingSink, _ *playedInputs) {
				w.say("a")
				sink.set(true, nil)
				ask(w.engine)
				synctest.Wait()
				w.wantRereads(sink, 2)
				if last := w.status().Last; last.Trigger != name || last.Result.Action != sdk.ActionReload {
					t.Errorf("the newest entry is %+v", last)
				}
				if now := len(w.sink.texts()); name == TriggerReread && now != 1 {
					t.Errorf("the document was offered %d times", now)
				}
			})
		})
	}
}

func TestChangedFiles_NamesAFew(t *testing.T) {
	before := map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "same": "1"}
	now := map[string]string{"a": "2", "b": "2", "e\xff": "1", "same": "1"}
	if got, want := changedFiles(before, now), []string{"a", "b", "c", "and 2 more"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := changedFiles(before, before); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
