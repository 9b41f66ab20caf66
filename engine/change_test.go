package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// next is what runs, for a test to change. The sink's pipeline is "p".
func (w *world) next() Config {
	return Config{
		Sources:   map[string]SourceConfig{"s": {Source: w.source}},
		Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: w.templates, Sink: w.sink}},
		Log:       slog.New(slog.DiscardHandler),
	}
}

// change puts next in force and waits until nothing moves any more.
func (w *world) change(next Config) error {
	err := w.engine.Change(w.t.Context(), next, func() (Config, error) { return next, nil })
	synctest.Wait()
	return err
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func wantApplied(t *testing.T, sink *playedSink, applied ...string) {
	t.Helper()
	if got := strings.Join(sink.texts(), " | "); got != strings.Join(applied, " | ") {
		t.Fatalf("the sink was offered %q, want %q", got, strings.Join(applied, " | "))
	}
}

func newPlayedSource() *playedSource { return &playedSource{emit: make(chan func(func(sdk.Snapshot)))} }

func TestWhatDoesNotChangeIsNotTouched(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		before := w.engine.current()
		w.must(w.change(w.next()))
		if now := w.engine.current(); now.pipelines[0] != before.pipelines[0] || now.sources["s"] != before.sources["s"] {
			t.Error("a part was replaced by another")
		}
		w.want("1 v1:web")
		w.say("chat")
		w.edit("v2")
		w.want("1 v1:web", "2 v1:chat", "3 v2:chat")
	})
}

func TestAPipelineComesAndGoes(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		second := newPlayedSink()
		next.Pipelines = append(next.Pipelines, PipelineConfig{
			Name: "q", Source: "s", Templates: newPlayedTemplates("q"), Sink: second,
		})
		w.must(w.change(next))
		wantApplied(t, second, "1 q:web")
		if last := w.engine.Status()[1].Last; last.Trigger != TriggerConfig {
			t.Errorf("triggered by %q", last.Trigger)
		}
		w.say("chat")
		wantApplied(t, second, "1 q:web", "2 q:chat")
		w.must(w.change(w.next()))
		w.say("mail")
		wantApplied(t, second, "1 q:web", "2 q:chat")
		w.want("1 v1:web", "2 v1:chat", "3 v1:mail")
		if len(w.engine.Status()) != 1 {
			t.Errorf("status is %+v", w.engine.Status())
		}
	})
}

func TestNumbersGoOnWithAnotherTemplate(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		next.Pipelines[0].Templates = newPlayedTemplates("v2")
		w.must(w.change(next))
		w.want("1 v1:web", "2 v2:web")
		if w.status().Generation != 2 || len(w.engine.current().pipelines[0].history.entries) != 2 {
			t.Errorf("status is %+v", w.status())
		}
	})
}

func TestTheSameDocumentOfAnotherTemplateIsNotOfferedAgain(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		next.Pipelines[0].Templates = newPlayedTemplates("v1")
		w.must(w.change(next))
		w.want("1 v1:web")
		w.say("chat")
		w.want("1 v1:web", "2 v1:chat")
	})
}

// The snapshot under which a new template fails may come later.
func TestTheTemplateBeforeHoldsWhereTheNewOneFailsLater(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		source := newPlayedSource()
		next := w.next()
		next.Sources = map[string]SourceConfig{"other": {Source: source}}
		next.Pipelines[0].Source, next.Pipelines[0].Templates = "other", newPlayedTemplates("bad")
		w.must(w.change(next))
		w.want("1 v1:web") // nothing is known of the other source yet
		source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) }
		synctest.Wait()
		w.want("1 v1:web", "2 v1:chat")
		if s := w.status(); s.TemplateError == nil || s.Source != "other" {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestAnotherSinkGetsTheDocumentThatIsThere(t *testing.T) {
	for _, known := range []bool{true, false} {
		play(t, func(w *world) {
			w.say("web")
			next := w.next()
			sink := newPlayedSink()
			next.Pipelines[0].Sink = sink
			if !known {
				next.Sources = map[string]SourceConfig{"other": {Source: newPlayedSource()}}
				next.Pipelines[0].Source = "other"
			}
			w.must(w.change(next))
			wantApplied(t, sink, "1 v1:web")
			w.want("1 v1:web")
		})
	}
}

func TestASourceOfTheSameNameTakesOverWhatWasSaid(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		source := newPlayedSource()
		next.Sources["s"] = SourceConfig{Source: source}
		w.must(w.change(next))
		w.want("1 v1:web")
		if snap, ok := w.engine.Snapshot("s"); !ok || snap.Services[0].Name != "web" {
			t.Errorf("%v %v", snap, ok)
		}
		source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) }
		synctest.Wait()
		w.want("1 v1:web", "2 v1:chat")
		select {
		case w.source.emit <- func(func(sdk.Snapshot)) {}:
			t.Error("the old source is still watched")
		default:
		}
	})
}

func TestAHeldSnapshotOutlastsAChangeOfItsSource(t *testing.T) {
	play(t, func(w *world) {
		guarded := w.next()
		guard := Guard{MaxDrop: 0.1, MinInstances: 1, Hold: time.Minute}
		guarded.Sources["s"] = SourceConfig{Source: w.source, Guard: guard}
		w.must(w.change(guarded))
		w.say("web", "chat")
		w.say("web")
		w.want("1 v1:chat,web")
		guarded.Sources = map[string]SourceConfig{"s": {Source: newPlayedSource(), Guard: guard}}
		w.must(w.change(guarded))
		if w.status().Held == nil {
			t.Error("nothing is held any more")
		}
		w.want("1 v1:chat,web")
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want("1 v1:chat,web", "2 v1:web")
	})
}

// Who changes the guard at night means the catalogue that is held.
func TestAGuardThatChangesJudgesWhatIsHeld(t *testing.T) {
	play(t, func(w *world) {
		guarded := func(guard Guard) {
			next := w.next()
			next.Sources["s"] = SourceConfig{Source: w.source, Guard: guard}
			w.must(w.change(next))
		}
		guard := Guard{MaxDrop: 0.1, MinInstances: 1, Hold: time.Hour}
		guarded(guard)
		w.say("web", "chat")
		w.say("web")
		time.Sleep(time.Minute)
		guard.Hold = 2 * time.Minute // of which one is over
		guarded(guard)
		if held := w.status().Held; held == nil || held.Until != held.Since.Add(2*time.Minute) {
			t.Fatalf("held is %+v", held)
		}
		guard.Hold = 3 * time.Minute
		guarded(guard)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		w.want("1 v1:chat,web")
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want("1 v1:chat,web", "2 v1:web")

		w.say("mail", "web")
		w.say("web")
		w.want("1 v1:chat,web", "2 v1:web", "3 v1:mail,web")
		guarded(Guard{})
		w.want("1 v1:chat,web", "2 v1:web", "3 v1:mail,web", "4 v1:web")
		if held := w.status().Held; held != nil {
			t.Errorf("held is %+v", held)
		}
	})
}

// What was broken off may be live all the same, so going back to the document before is more than doing nothing.
func TestADocumentThatWasBrokenOffIsMadeUpFor(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		w.sink.gate = make(chan struct{}) // never opens
		w.edit("v2")
		w.want("1 v1:web", "2 v2:web")
		next := w.next()
		next.Pipelines[0].Templates = newPlayedTemplates("v1")
		w.must(w.change(next))
		w.want("1 v1:web", "2 v2:web", "3 v1:web")
	})
}

func TestASinkOfAnotherTypeGetsNothingThatWasForTheOneBefore(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		sink := newPlayedSink()
		sink.answer("v2:web", errors.New("the disk is full"))
		next.Pipelines[0].Sink, next.Pipelines[0].SinkType, next.Pipelines[0].Templates = sink, "nginx", newPlayedTemplates("v2")
		w.must(w.change(next))
		sink.restarted <- struct{}{}
		synctest.Wait()
		wantApplied(t, sink, "2 v2:web", "2 v2:web")
		if s := w.status(); s.Generation != 0 || s.ApplyError == nil {
			t.Errorf("status is %+v", s)
		}
		sink.answer("v2:web", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantApplied(t, sink, "2 v2:web", "2 v2:web", "2 v2:web")
	})
}

func TestASinkOfAnotherTypeWithTheSameTemplate(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		sink := newPlayedSink()
		next.Pipelines[0].Sink, next.Pipelines[0].SinkType = sink, "nginx"
		w.must(w.change(next))
		wantApplied(t, sink, "1 v1:web")
	})
}

// judge is a sink that checks.
type judge struct {
	*playedSink
	verdict error
}

func (j judge) Check(context.Context, sdk.Document) error { return j.verdict }

// A sink that turns out to be unable to check is as good as one that is no Checker.
func TestChange_SinkThatCannotCheck(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next, sink := w.next(), newPlayedSink()
		next.Pipelines[0].Sink = &judge{sink, fmt.Errorf("it cannot: %w", errors.ErrUnsupported)}
		w.must(w.change(next))
		wantApplied(t, sink, "1 v1:web")
	})
}

func TestNothingChangesWhereAnythingIsWrong(t *testing.T) {
	for name, spoil := range map[string]func(next *Config){
		"no such source":    func(next *Config) { next.Pipelines[0].Source = "none" },
		"broken template":   func(next *Config) { next.Pipelines[0].Templates = newPlayedTemplates("broken") },
		"unrendered":        func(next *Config) { next.Pipelines[0].Templates = newPlayedTemplates("bad") },
		"rejected":          func(next *Config) { next.Pipelines[0].Sink = &judge{newPlayedSink(), sdk.Rejectf("line 1")} },
		"cannot be checked": func(next *Config) { next.Pipelines[0].Sink = &judge{newPlayedSink(), errors.New("no disk")} },
		"one pipeline of it": func(next *Config) {
			next.Pipelines = append(next.Pipelines, PipelineConfig{Name: "q", Source: "none"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(w *world) {
				w.say("web")
				before := w.engine.current()
				next := w.next()
				spoil(&next)
				err := w.engine.Change(w.t.Context(), next, func() (Config, error) {
					t.Error("it went on to the hand-over")
					return next, nil
				})
				if err == nil {
					t.Error("it was taken")
				}
				synctest.Wait()
				if now := w.engine.current(); now.pipelines[0] != before.pipelines[0] || len(now.pipelines) != 1 {
					t.Error("a part was replaced by another")
				}
				w.say("chat")
				w.want("1 v1:web", "2 v1:chat")
			})
		})
	}
}

func TestNobodyUsesASinkDuringTheHandOver(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		sink := newPlayedSink()
		next.Pipelines[0].Sink = sink
		w.must(w.engine.Change(w.t.Context(), next, func() (Config, error) {
			w.source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) } // which is not stopped
			synctest.Wait()
			w.want("1 v1:web")
			wantApplied(t, sink)
			return next, nil
		}))
		synctest.Wait()
		wantApplied(t, sink, "2 v1:chat")
	})
}

func TestAHandOverThatFailsBringsBackWhatItSays(t *testing.T) {
	play(t, func(w *world) {
		w.say("web")
		next := w.next()
		next.Pipelines[0].Sink = newPlayedSink()
		next.Pipelines[0].Templates = newPlayedTemplates("v2")
		again := w.next()
		reopened := newPlayedSink()
		again.Pipelines[0].Sink = reopened
		taken := errors.New("taken")
		err := w.engine.Change(w.t.Context(), next, func() (Config, error) { return again, taken })
		synctest.Wait()
		if !errors.Is(err, taken) {
			t.Errorf("got %v", err)
		}
		wantApplied(t, reopened, "1 v1:web")
		w.say("chat")
		wantApplied(t, reopened, "1 v1:web", "2 v1:chat")
	})
}

func TestAChangeEndsWithItsContext(t *testing.T) {
	engine, err := New(Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engine.Change(ctx, Config{}, nil); !errors.Is(err, context.Canceled) { // nobody runs it
		t.Errorf("got %v", err)
	}
}
