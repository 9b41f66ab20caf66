package engine

import (
	"context"
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

// playWatching is play with a pipeline that watches a file.
func playWatching(t *testing.T, memory Memory, scene func(w *world, files *playedInputs)) {
	synctest.Test(t, func(t *testing.T) {
		files := &playedInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}}
		w := &world{
			t: t, source: &playedSource{emit: make(chan func(func(sdk.Snapshot)))},
			templates: newPlayedTemplates("v1"), sink: newPlayedSink(),
		}
		engine, err := New(Config{
			Sources:   map[string]SourceConfig{"s": {Source: w.source}},
			Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: w.templates, Sink: w.sink, Inputs: files}},
			Log:       slog.New(slog.DiscardHandler),
			Memory:    memory,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.engine = engine
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); engine.Run(ctx) }()
		synctest.Wait()
		scene(w, files)
		cancel()
		<-done
	})
}

// newest returns the document that was offered last.
func (s *playedSink) newest() sdk.Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offered[len(s.offered)-1]
}

func TestInputs_AChangeIsOfferedWithTheSameDocument(t *testing.T) {
	playWatching(t, forgetful{}, func(w *world, files *playedInputs) {
		w.say("a")
		first := w.sink.newest()
		if first.Watched == "" || first.Reread || len(first.Changed) > 0 {
			t.Errorf("the first document came with %+v", first)
		}
		w.say("a")
		w.want("1 v1:a")
		files.write("/certs/a", "2")
		w.want("1 v1:a", "1 v1:a")
		second := w.sink.newest()
		if !second.Reread || !second.LoadsAgain(first.Watched) || !slices.Equal(second.Changed, []string{"/certs/a"}) {
			t.Errorf("the second document came with %+v", second)
		}
		if last := w.status().Last; last.Trigger != TriggerInputs {
			t.Errorf("the trigger is %q", last.Trigger)
		}
		w.say("b")
		if third := w.sink.newest(); third.Reread || third.Watched != second.Watched || len(third.Changed) > 0 {
			t.Errorf("the third document came with %+v", third)
		}
		w.pass(time.Hour)
		w.want("1 v1:a", "1 v1:a", "2 v1:b")
	})
}

// A change that the sink could not take is offered again, with newer documents too, until it has.
func TestInputs_AChangeIsPendingUntilTheSinkTookIt(t *testing.T) {
	playWatching(t, forgetful{}, func(w *world, files *playedInputs) {
		w.say("a")
		mend := w.failUntilMended()
		files.write("/certs/a", "2")
		w.say("b")
		if doc := w.sink.newest(); !doc.Reread || !slices.Equal(doc.Changed, []string{"/certs/a"}) {
			t.Errorf("the newer document came with %+v", doc)
		}
		w.wantRetriedUntilMended(mend)
		if doc := w.sink.newest(); !doc.Reread {
			t.Errorf("the last document came with %+v", doc)
		}
	})
}

// Where the newest document is rejected, the files are loaded with the one that is in effect.
func TestInputs_AChangeConcernsTheDocumentInEffect(t *testing.T) {
	playWatching(t, forgetful{}, func(w *world, files *playedInputs) {
		w.say("a")
		w.sink.answer("v1:b", sdk.Rejectf("no"))
		w.say("b")
		files.write("/certs/a", "2")
		if doc := w.sink.newest(); string(doc.Files[0].Content) != "v1:a" || !doc.Reread {
			t.Errorf("offered last: %s with %+v", doc.Files[0].Content, doc)
		}
		if w.status().ApplyError == nil {
			t.Error("the rejection is forgotten")
		}
	})
}

// A document that was rejected may be good with other files.
func TestInputs_AChangeTriesWhatWasRejected(t *testing.T) {
	playWatching(t, forgetful{}, func(w *world, files *playedInputs) {
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

// Somebody who asks, by Apply or Reread, has the sink look at the files, once.
func TestReread_IsOfferedOnce(t *testing.T) {
	for name, ask := range map[string]func(*Engine){
		"apply":  func(e *Engine) { _ = e.Apply("p") },
		"reread": func(e *Engine) { e.Reread() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.say("a")
				ask(w.engine)
				synctest.Wait()
				w.want("1 v1:a", "1 v1:a")
				if doc := w.sink.newest(); !doc.Reread || doc.Watched != "" || doc.Retry != (name == "apply") {
					t.Errorf("offered with %+v", doc)
				}
				w.say("b")
				if doc := w.sink.newest(); doc.Reread {
					t.Errorf("offered with %+v", doc)
				}
			})
		})
	}
}

// Without a snapshot the document that an earlier run left is in effect, and its files count.
func TestReread_WithoutASnapshot(t *testing.T) {
	memory := &playedMemory{inEffect: map[string]InEffect{"p": {Document: keptDocument()}}}
	playRemembering(t, memory, func(w *world) {
		w.want("7 old:a")
		w.engine.Reread()
		synctest.Wait()
		w.want("7 old:a", "7 old:a")
		if !w.sink.newest().Reread {
			t.Error("offered without Reread")
		}
		mend := w.failUntilMended()
		w.engine.Reread()
		synctest.Wait()
		w.wantRetriedUntilMended(mend)
	})
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
