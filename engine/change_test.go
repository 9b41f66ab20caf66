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

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// next returns the running configuration, for a test to modify. The only pipeline is "p".
func (env *testEnv) next() Config {
	return Config{
		Sources:   map[string]SourceConfig{"s": {Source: env.source}},
		Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: env.templates, Sink: env.sink}},
		Log:       slog.New(slog.DiscardHandler),
	}
}

// change changes the configuration to next and waits until the engine is idle.
func (env *testEnv) change(next Config) error {
	err := env.engine.Change(env.t.Context(), next, func() (Config, error) { return next, nil })
	synctest.Wait()
	return err
}

func (env *testEnv) must(err error) {
	env.t.Helper()
	if err != nil {
		env.t.Fatal(err)
	}
}

func wantSinkApplied(t *testing.T, sink *fakeSink, applied ...string) {
	t.Helper()
	if got := strings.Join(sink.applied(), " | "); got != strings.Join(applied, " | ") {
		t.Fatalf("the sink was passed %q, want %q", got, strings.Join(applied, " | "))
	}
}

func newFakeSource() *fakeSource { return &fakeSource{emit: make(chan func(func(sdk.Snapshot)))} }

func TestChange_UnchangedComponentsAreKept(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		before := env.engine.current()
		env.must(env.change(env.next()))
		if now := env.engine.current(); now.pipelines[0] != before.pipelines[0] || now.sources["s"] != before.sources["s"] {
			t.Error("a component was replaced")
		}
		env.wantApplied("1 v1:web")
		env.emitServices("chat")
		env.edit("v2")
		env.wantApplied("1 v1:web", "2 v1:chat", "3 v2:chat")
	})
}

func TestChange_AddsAndRemovesPipeline(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		second := newFakeSink()
		next.Pipelines = append(next.Pipelines, PipelineConfig{
			Name: "q", Source: "s", Templates: newFakeTemplates("q"), Sink: second,
		})
		env.must(env.change(next))
		wantSinkApplied(t, second, "1 q:web")
		if last := env.engine.Status()[1].Last; last.Trigger.Kind != history.TriggerConfig {
			t.Errorf("triggered by %q", last.Trigger)
		}
		env.emitServices("chat")
		wantSinkApplied(t, second, "1 q:web", "2 q:chat")
		env.must(env.change(env.next()))
		env.emitServices("mail")
		wantSinkApplied(t, second, "1 q:web", "2 q:chat")
		env.wantApplied("1 v1:web", "2 v1:chat", "3 v1:mail")
		if len(env.engine.Status()) != 1 {
			t.Errorf("status is %+v", env.engine.Status())
		}
	})
}

func TestChange_NewTemplateContinuesGenerations(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		next.Pipelines[0].Templates = newFakeTemplates("v2")
		env.must(env.change(next))
		env.wantApplied("1 v1:web", "2 v2:web")
		if env.status().Generation != 2 || len(env.changes()) != 2 {
			t.Errorf("status is %+v", env.status())
		}
	})
}

func TestChange_NewTemplateWithSameDocument(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		next.Pipelines[0].Templates = newFakeTemplates("v1")
		env.must(env.change(next))
		env.wantApplied("1 v1:web")
		env.emitServices("chat")
		env.wantApplied("1 v1:web", "2 v1:chat")
	})
}

// The check before the change cannot find a failure that only a later snapshot causes.
func TestChange_NewTemplateFailsLater(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		source := newFakeSource()
		next := env.next()
		next.Sources = map[string]SourceConfig{"other": {Source: source}}
		next.Pipelines[0].Source, next.Pipelines[0].Templates = "other", newFakeTemplates("bad")
		env.must(env.change(next))
		env.wantApplied("1 v1:web") // the other source has no snapshot yet
		source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) }
		synctest.Wait()
		env.wantApplied("1 v1:web", "2 v1:chat")
		if s := env.status(); s.TemplateError == nil || s.Source != "other" {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestChange_NewSinkGetsDocument(t *testing.T) {
	for _, known := range []bool{true, false} {
		runEngine(t, func(env *testEnv) {
			env.emitServices("web")
			next := env.next()
			sink := newFakeSink()
			next.Pipelines[0].Sink = sink
			if !known {
				next.Sources = map[string]SourceConfig{"other": {Source: newFakeSource()}}
				next.Pipelines[0].Source = "other"
			}
			env.must(env.change(next))
			wantSinkApplied(t, sink, "1 v1:web")
			env.wantApplied("1 v1:web")
		})
	}
}

func TestChange_NewSourceKeepsSnapshot(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		source := newFakeSource()
		next.Sources["s"] = SourceConfig{Source: source}
		env.must(env.change(next))
		env.wantApplied("1 v1:web")
		if snap, ok := env.engine.Snapshot("s"); !ok || snap.Services[0].Name != "web" {
			t.Errorf("%v %v", snap, ok)
		}
		source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) }
		synctest.Wait()
		env.wantApplied("1 v1:web", "2 v1:chat")
		select {
		case env.source.emit <- func(func(sdk.Snapshot)) {}:
			t.Error("the old source is still watched")
		default:
		}
	})
}

func TestChange_NewSourceKeepsHeldSnapshot(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		guarded := env.next()
		guard := Guard{MaxDrop: 0.1, MinInstances: 1, Hold: time.Minute}
		guarded.Sources["s"] = SourceConfig{Source: env.source, Guard: guard}
		env.must(env.change(guarded))
		env.emitServices("web", "chat")
		env.emitServices("web")
		env.wantApplied("1 v1:chat,web")
		guarded.Sources = map[string]SourceConfig{"s": {Source: newFakeSource(), Guard: guard}}
		env.must(env.change(guarded))
		if env.status().Held == nil {
			t.Error("the snapshot is no longer held")
		}
		env.wantApplied("1 v1:chat,web")
		time.Sleep(time.Minute)
		synctest.Wait()
		env.wantApplied("1 v1:chat,web", "2 v1:web")
	})
}

// A guard is often changed because of the snapshot that is held.
func TestChange_NewGuardAppliesToHeldSnapshot(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		guarded := func(guard Guard) {
			next := env.next()
			next.Sources["s"] = SourceConfig{Source: env.source, Guard: guard}
			env.must(env.change(next))
		}
		guard := Guard{MaxDrop: 0.1, MinInstances: 1, Hold: time.Hour}
		guarded(guard)
		env.emitServices("web", "chat")
		env.emitServices("web")
		time.Sleep(time.Minute)
		guard.Hold = 2 * time.Minute // one of them is over
		guarded(guard)
		if held := env.status().Held; held == nil || held.Until != held.Since.Add(2*time.Minute) {
			t.Fatalf("held is %+v", held)
		}
		guard.Hold = 3 * time.Minute
		guarded(guard)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		env.wantApplied("1 v1:chat,web")
		time.Sleep(time.Minute)
		synctest.Wait()
		env.wantApplied("1 v1:chat,web", "2 v1:web")

		env.emitServices("mail", "web")
		env.emitServices("web")
		env.wantApplied("1 v1:chat,web", "2 v1:web", "3 v1:mail,web")
		guarded(Guard{})
		env.wantApplied("1 v1:chat,web", "2 v1:web", "3 v1:mail,web", "4 v1:web")
		if held := env.status().Held; held != nil {
			t.Errorf("held is %+v", held)
		}
	})
}

// A document whose Apply was interrupted may be live, so the previous document must be applied again.
func TestChange_InterruptedApply(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		env.sink.gate = make(chan struct{}) // blocks
		env.edit("v2")
		env.wantApplied("1 v1:web", "2 v2:web")
		next := env.next()
		next.Pipelines[0].Templates = newFakeTemplates("v1")
		env.must(env.change(next))
		env.wantApplied("1 v1:web", "2 v2:web", "3 v1:web")
	})
}

func TestChange_SinkOfAnotherTypeDoesNotGetAppliedDocument(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		sink := newFakeSink()
		sink.setError("v2:web", errors.New("the disk is full"))
		next.Pipelines[0].Sink, next.Pipelines[0].SinkType, next.Pipelines[0].Templates = sink, "nginx", newFakeTemplates("v2")
		env.must(env.change(next))
		sink.restarted <- struct{}{}
		synctest.Wait()
		wantSinkApplied(t, sink, "2 v2:web", "2 v2:web")
		if s := env.status(); s.Generation != 0 || s.ApplyError == nil {
			t.Errorf("status is %+v", s)
		}
		sink.setError("v2:web", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantSinkApplied(t, sink, "2 v2:web", "2 v2:web", "2 v2:web")
	})
}

func TestChange_SinkOfAnotherTypeWithSameTemplate(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		sink := newFakeSink()
		next.Pipelines[0].Sink, next.Pipelines[0].SinkType = sink, "nginx"
		env.must(env.change(next))
		wantSinkApplied(t, sink, "1 v1:web")
	})
}

// checkSink is a fakeSink with Check.
type checkSink struct {
	*fakeSink
	err error
}

func (j checkSink) Check(context.Context, sdk.Document) error { return j.err }

// A sink that turns out to be unable to check is treated like one that is no Checker.
func TestChange_SinkThatCannotCheck(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next, sink := env.next(), newFakeSink()
		next.Pipelines[0].Sink = &checkSink{sink, fmt.Errorf("check: %w", errors.ErrUnsupported)}
		env.must(env.change(next))
		wantSinkApplied(t, sink, "1 v1:web")
	})
}

func TestChange_FaultsChangeNothing(t *testing.T) {
	for name, spoil := range map[string]func(next *Config){
		"no such source":    func(next *Config) { next.Pipelines[0].Source = "none" },
		"broken template":   func(next *Config) { next.Pipelines[0].Templates = newFakeTemplates("broken") },
		"unrendered":        func(next *Config) { next.Pipelines[0].Templates = newFakeTemplates("bad") },
		"rejected":          func(next *Config) { next.Pipelines[0].Sink = &checkSink{newFakeSink(), sdk.Rejectf("line 1")} },
		"cannot be checked": func(next *Config) { next.Pipelines[0].Sink = &checkSink{newFakeSink(), errors.New("no disk")} },
		"one pipeline of it": func(next *Config) {
			next.Pipelines = append(next.Pipelines, PipelineConfig{Name: "q", Source: "none"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			runEngine(t, func(env *testEnv) {
				env.emitServices("web")
				before := env.engine.current()
				next := env.next()
				spoil(&next)
				err := env.engine.Change(env.t.Context(), next, func() (Config, error) {
					t.Error("switchOver was called")
					return next, nil
				})
				if err == nil {
					t.Error("no error")
				}
				synctest.Wait()
				if now := env.engine.current(); now.pipelines[0] != before.pipelines[0] || len(now.pipelines) != 1 {
					t.Error("a component was replaced")
				}
				env.emitServices("chat")
				env.wantApplied("1 v1:web", "2 v1:chat")
			})
		})
	}
}

func TestChange_SinksAreUnusedDuringSwitchOver(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		sink := newFakeSink()
		next.Pipelines[0].Sink = sink
		env.must(env.engine.Change(env.t.Context(), next, func() (Config, error) {
			env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snapshotOf("chat")) } // the source keeps running
			synctest.Wait()
			env.wantApplied("1 v1:web")
			wantSinkApplied(t, sink)
			return next, nil
		}))
		synctest.Wait()
		wantSinkApplied(t, sink, "2 v1:chat")
	})
}

func TestChange_FailedSwitchOver(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("web")
		next := env.next()
		next.Pipelines[0].Sink = newFakeSink()
		next.Pipelines[0].Templates = newFakeTemplates("v2")
		again := env.next()
		reopened := newFakeSink()
		again.Pipelines[0].Sink = reopened
		taken := errors.New("taken")
		err := env.engine.Change(env.t.Context(), next, func() (Config, error) { return again, taken })
		synctest.Wait()
		if !errors.Is(err, taken) {
			t.Errorf("got %v", err)
		}
		wantSinkApplied(t, reopened, "1 v1:web")
		env.emitServices("chat")
		wantSinkApplied(t, reopened, "1 v1:web", "3 v1:chat")
	})
}

func TestChange_CancelledContext(t *testing.T) {
	engine, err := New(Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engine.Change(ctx, Config{}, nil); !errors.Is(err, context.Canceled) { // the engine does not run
		t.Errorf("got %v", err)
	}
}
