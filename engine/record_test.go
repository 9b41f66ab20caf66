package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// historyEnv is an engine with a store, a sink that rereads files, and an observer of the history.
type historyEnv struct {
	*testEnv
	sink     *rereadingSink
	files    *fakeInputs
	observer *changeObserver
}

type changeObserver struct {
	NoObserver
	mu   sync.Mutex
	seen []history.Change
}

func (o *changeObserver) Changed(_ string, c history.Change) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, c)
}

func runHistory(t *testing.T, store *fakeStateStore, guard Guard, test func(t *testing.T, env *historyEnv)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sink := &rereadingSink{fakeSink: newFakeSink()}
		env := &historyEnv{
			testEnv: &testEnv{t: t, source: newFakeSource(), templates: newFakeTemplates("v1"), sink: sink.fakeSink},
			sink:    sink, files: &fakeInputs{changed: newSignal(), files: map[string]string{"/certs/a": "1"}},
			observer: &changeObserver{},
		}
		env.engine = startEngine(t, env.config(guard, store))
		test(t, env)
	})
}

func (env *historyEnv) config(guard Guard, store StateStore) Config {
	return Config{
		Sources:    map[string]SourceConfig{"s": {Source: env.source, Guard: guard}},
		Pipelines:  []PipelineConfig{{Name: "p", Source: "s", Templates: env.templates, Sink: env.sink, Inputs: env.files}},
		StateStore: store, Observer: env.observer, Log: slog.New(slog.DiscardHandler),
	}
}

func (env *historyEnv) emit(snap sdk.Snapshot) {
	env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
	synctest.Wait()
}

func (env *historyEnv) answer(result sdk.Result) {
	env.sink.mu.Lock()
	defer env.sink.mu.Unlock()
	env.sink.result = result
}

func (env *historyEnv) emitEvent(e sdk.Event) {
	env.sink.events <- e
	synctest.Wait()
}

// emitBecause emits a snapshot with that cause.
func (env *historyEnv) emitBecause(cause, sender string, services ...string) {
	snap := snapshotOf(services...)
	snap.Cause, snap.Sender = cause, sender
	env.emit(snap)
}

// The document of an earlier run, and what it was before the daemon stopped, go on after a restart of the daemon.
func TestHistory_Restart(t *testing.T) {
	store := newFakeStateStore()
	var since time.Time
	runHistory(t, store, Guard{}, func(_ *testing.T, env *historyEnv) {
		env.emitServices("a")
		since = env.status().Since
		env.pass(time.Hour)
		env.sink.setError("v1:b", sdk.Deferred("wait", time.Hour))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	})
	runHistory(t, store, Guard{}, func(t *testing.T, env *historyEnv) {
		// The deferred document has the generation and the entry that it had.
		env.wantApplied("2 v1:b")
		changes := env.changes()
		if diff := cmp.Diff(again(applied(2, history.TriggerPush, "192.0.2.7"), 2), reasonOf(changes[1])); diff != "" ||
			len(changes) != 2 {
			t.Errorf("%d changes, -want +got:\n%s", len(changes), diff)
		}
		since = env.status().Since
	})
	runHistory(t, store, Guard{}, func(t *testing.T, env *historyEnv) {
		env.wantApplied("2 v1:b")
		changes := env.changes()
		if got := changes[len(changes)-1]; got.Document != 2 || got.Generation != 3 || got.Trigger.Kind != history.TriggerStart {
			t.Errorf("got %+v", got)
		}
		if now := env.status().Since; !now.Equal(since) {
			t.Errorf("in effect since %v, before the restart %v", now, since)
		}
		env.emitServices("c")
		env.wantApplied("2 v1:b", "4 v1:c")
	})
}

// Applying a document that the sink has changes neither the last change, nor the last reload, nor since when it is in effect.
func TestHistory_NoOpAddsNothing(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		before := env.status()
		env.answer(sdk.Result{Action: sdk.ActionUnchanged})
		env.pass(time.Minute)
		env.requestApply()
		env.engine.Reread()
		synctest.Wait()
		after := env.status()
		if len(env.changes()) != 1 || !cmp.Equal(after.LastChange, before.LastChange) ||
			!cmp.Equal(after.LastReload, before.LastReload) || !after.Since.Equal(before.Since) {
			t.Errorf("before %+v, after %+v, changes %+v", before, after, env.changes())
		}
		env.wantApplied("1 v1:a", "1 v1:a")
	})
}

// The last change, the last reload and since when the document is in effect are three facts.
func TestHistory_SeparateFacts(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		want := func(change, reload uint64, since time.Time) {
			t.Helper()
			s := env.status()
			if s.LastChange.Generation != change || s.LastReload.Generation != reload || !s.Since.Equal(since) {
				t.Errorf("last change %d, last reload %d, since %v; want %d, %d, %v",
					s.LastChange.Generation, s.LastReload.Generation, s.Since, change, reload, since)
			}
			env.pass(time.Hour)
		}
		env.emitServices("a")
		want(1, 1, time.Now())
		env.answer(sdk.Result{Action: sdk.ActionRuntime})
		env.emitServices("b")
		since := time.Now()
		want(2, 1, since)
		env.answer(sdk.Result{Action: sdk.ActionReload})
		env.requestApply() // the same document is loaded again
		want(3, 3, since)
		env.sink.setError("v1:c", sdk.Rejectf("wrong"))
		env.emitServices("c")
		want(3, 3, since)
		env.emitEvent(sdk.Event{Kind: sdk.EventRestarted, Reason: "it crashed"})
		want(3, 5, since)
	})
}

// What an entry keeps is masked, printable and complete.
func TestHistory_EntryIsComplete(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.answer(sdk.Result{
			Action: sdk.ActionRuntime, Reason: "password s3cret", Details: []string{"\x1b[31mred"},
			Commands: []sdk.Command{{Sent: "set server a/1 state ready", Answer: "token=s3cret"}},
			Steps:    []sdk.Step{{Name: "check", Start: time.Second, Took: 2 * time.Second}},
		})
		env.edit("notes password s3cret")
		c := env.changes()[1]
		want := history.Change{
			Reason: "password ***", Details: []string{`\x1b[31mred`}, Notes: []string{"a"}, LinesAdded: 1, LinesRemoved: 1,
			Commands: []history.Command{{Sent: "set server a/1 state ready", Answer: "token=***"}},
			Steps:    []history.Step{{Name: "wait"}, {Name: "render"}, {Name: "check", Start: 1, Seconds: 2}},
		}
		got := history.Change{
			Reason: c.Reason, Details: c.Details, Notes: c.Notes, LinesAdded: c.LinesAdded, LinesRemoved: c.LinesRemoved,
			Commands: c.Commands, Steps: c.Steps,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		log, _ := env.engine.History("p")
		if diff := log.Diff(2); !strings.Contains(diff, "+notes password ***") || strings.Contains(diff, "s3cret") {
			t.Errorf("diff %q", diff)
		}
		if doc, ok := log.DocumentOf(2); !ok || string(doc.Files[0].Content) != "notes password s3cret:a" {
			t.Errorf("document %+v, %v", doc, ok)
		}
	})
}

// A diff may show the middle of a private key.
func TestHistory_PrivateKeyIsMasked(t *testing.T) {
	key := func(line string) sdk.File {
		lines := slices.Repeat([]string{"MIIsecret"}, 10)
		lines[5] = line
		text := "-----BEGIN PRIVATE KEY-----\n" + strings.Join(lines, "\n") + "\n-----END PRIVATE KEY-----\n"
		return sdk.File{Name: "cert.pem", Content: []byte(text)}
	}
	p := &pipeline{history: history.NewLog()}
	p.state.applied = &rendered{document: sdk.Document{Files: []sdk.File{key("MIIone")}}}
	var c history.Change
	after := []sdk.File{key("MIItwo"), {Name: "x", Content: []byte("y\n")}}
	diff := p.compare(&c, &rendered{document: sdk.Document{Files: after}})
	if strings.Contains(diff, "MII") || !strings.Contains(diff, "+y") {
		t.Errorf("diff %q", diff)
	}
}

func TestHistory_InstancesInWords(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		instances := func(all ...sdk.Instance) sdk.Snapshot {
			return sdk.Snapshot{Source: "s", Taken: time.Now(), Services: sdk.GroupByName(all)}
		}
		one := sdk.Instance{ID: "1", Name: "web", Hostname: "node-1", Ports: []sdk.Port{{Type: "tcp", Port: 80, IP: "10.0.0.1"}}}
		two := sdk.Instance{ID: "2", Name: "chat", Hostname: "node-2", Ports: []sdk.Port{{Type: "tcp", Port: 80, IP: "10.0.0.2"}}}
		env.emit(instances(one))
		env.emit(instances(one, two))
		var got []string
		for _, c := range env.changes() {
			got = append(got, c.Instances...)
		}
		if diff := cmp.Diff([]string{"web: +node-1 10.0.0.1:80", "chat: +node-2 10.0.0.2:80"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A pipeline that a configuration reload replaces keeps its history, and so does one that is removed and added again.
func TestHistory_ConfigurationReload(t *testing.T) {
	store := newFakeStateStore()
	runHistory(t, store, Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		next := env.config(Guard{}, nil)
		next.Pipelines[0].Sink = newFakeSink()
		env.must(env.change(next))
		if changes := env.changes(); len(changes) != 2 || changes[1].Trigger.Kind != history.TriggerConfig ||
			changes[1].Document != 1 {
			t.Errorf("after the sink was replaced: %+v", changes)
		}
		next.Pipelines = nil
		env.must(env.change(next))
		env.must(env.change(env.config(Guard{}, nil)))
		if changes := env.changes(); len(changes) != 3 || changes[0].Generation != 1 {
			t.Errorf("after it was added again: %+v", changes)
		}
	})
}

// A document that was being applied when the daemon stopped has an entry.
func TestHistory_Interrupted(t *testing.T) {
	store := newFakeStateStore()
	runHistory(t, store, Guard{}, func(_ *testing.T, env *historyEnv) {
		env.sink.gate = make(chan struct{})
		env.emitServices("a")
	})
	runHistory(t, store, Guard{}, func(t *testing.T, env *historyEnv) {
		if changes := env.changes(); len(changes) != 1 || changes[0].Attempts != 2 ||
			changes[0].Outcome != history.OutcomeApplied {
			t.Errorf("got %+v", changes)
		}
	})
}

// The sink, the source and people cause entries at the same time.
func TestHistory_ConcurrentEntries(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := range 30 {
				env.sink.events <- sdk.Event{Kind: sdk.EventCrashed, Reason: fmt.Sprint(n)}
			}
		})
		wg.Go(func() {
			for n := range 30 {
				snap := snapshotOf("a", fmt.Sprint(n))
				env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
			}
		})
		wg.Go(func() {
			for range 30 {
				_ = env.engine.Apply("p", "192.0.2.9")
				_ = env.engine.Status()
			}
		})
		wg.Wait()
		synctest.Wait()
		changes := env.changes()
		events := 0
		for i, c := range changes {
			if c.Outcome == history.OutcomeEvent {
				events++
			}
			if i > 0 && c.Generation <= changes[i-1].Generation {
				t.Errorf("generation %d follows %d", c.Generation, changes[i-1].Generation)
			}
		}
		if events != 30 {
			t.Errorf("%d events, want 30", events)
		}
	})
}

// A sink that reports a document as lost may report the same as an event.
func TestHistory_LostAndRevertedAreOneEntry(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.emitServices("b")
		env.emitEvent(sdk.Event{Kind: sdk.EventReverted, Reason: "the check refused it", Generation: 1})
		env.sink.setError("v1:b", sdk.Rejectf("wrong"))
		env.emitLost(sdk.Lost{
			Err: errors.New("the check refused it"), Generation: 1,
			Commands: []sdk.Command{{Sent: "del server app/b", Answer: "Server deleted."}}, Details: []string{"the last line"},
		})
		lost := env.changes()[2]
		if !slices.Equal(lost.Commands, []history.Command{{Sent: "del server app/b", Answer: "Server deleted."}}) ||
			!slices.Equal(lost.Details, []string{"the last line"}) {
			t.Errorf("what the sink did is not in %+v", lost)
		}
		var got []string
		for _, c := range env.changes() {
			got = append(got, strings.TrimSpace(fmt.Sprint(c.Document, " ", c.Outcome, " ", c.Event)))
		}
		want := []string{"1 applied", "2 applied", "2 lost reverted", "2 rejected"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
