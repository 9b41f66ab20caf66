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

// An Apply that is cancelled in favour of something newer has the outcome superseded.
func TestHistory_CancelledInFavourOfNewer(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.sink.takes, env.sink.slow = time.Hour, "v1:a"
		env.emitServices("a")
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
		env.pass(2 * supersedeAfter)
		changes := env.changes()
		if len(changes) != 2 || changes[0].Outcome != history.OutcomeSuperseded || changes[0].Error == "" {
			t.Fatalf("got %+v", changes)
		}
		got := changes[1]
		if diff := cmp.Diff(applied(2, history.TriggerPush, "192.0.2.7"), reasonOf(got)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if wait := got.Steps[0]; wait.Name != "wait" || wait.Seconds < supersedeAfter.Seconds() || got.Seconds < wait.Seconds {
			t.Errorf("steps %+v in %v s", got.Steps, got.Seconds)
		}
	})
}

// Instances that are tried again at the time that the sink named make a document with the trigger retry.
func TestHistory_Retry(t *testing.T) {
	runLines(t, func(env *testEnv) {
		check := env.sink.check
		env.sink.check = func(doc sdk.Document) error {
			if err := check(doc); err != nil {
				return sdk.RetryAfter(err, time.Minute)
			}
			return nil
		}
		env.emitInstances("web/1 ok", "web/2 bad")
		env.sink.mu.Lock()
		env.sink.check = nil
		env.sink.mu.Unlock()
		env.pass(2 * time.Minute)
		var got []string
		for _, c := range env.changes() {
			got = append(got, fmt.Sprint(c.Trigger.Kind, " ", c.Outcome, " ", len(c.Excluded)))
		}
		want := []string{"source rejected 0", "source applied 1", "retry applied 0"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A snapshot that arrives at the time of a retry is the trigger of its document.
func TestHistory_SnapshotAtTimeOfRetry(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.sink.setError("v1:a", sdk.RetryAfter(errPlain, time.Minute))
		env.emitServices("a")
		snap := snapshotOf("b")
		snap.Cause = sdk.CausePush
		// The pipeline receives the timer first.
		env.engine.current().pipelines[0].snapshots.fill(causedSnapshot{snap, causeOf(snap)})
		env.pass(2 * time.Minute)
		changes := env.changes()
		if len(changes) != 2 || changes[0].Outcome != history.OutcomeSuperseded ||
			changes[1].Trigger.Kind != history.TriggerPush {
			t.Errorf("got %+v", changes)
		}
	})
}

// Files that changed again, or back, end the attempts to load them as they were.
func TestHistory_FilesThatChangeAgain(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		want := func(want ...string) {
			t.Helper()
			var got []string
			for _, c := range env.changes()[1:] {
				got = append(got, fmt.Sprintf("%s %s %s %d", c.Trigger.Kind, c.Action, c.Outcome, c.Attempts))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		env.emitServices("a")
		env.rereads(sdk.RetryAfter(errPlain, time.Hour))
		env.files.write("/certs/a", "bad")
		want("watched_files unchanged failed 1")
		env.rereads(nil)
		env.files.write("/certs/a", "good")
		want("watched_files unchanged superseded 1", "watched_files reload applied 1")

		env.rereads(sdk.RetryAfter(errPlain, time.Hour))
		env.files.write("/certs/a", "bad")
		env.sink.set(false, nil) // what is loaded already
		env.pass(time.Hour)
		want("watched_files unchanged superseded 1", "watched_files reload applied 1", "watched_files unchanged applied 2")
		env.rereads(nil)
		env.engine.Reread()
		synctest.Wait()
		want("watched_files unchanged superseded 1", "watched_files reload applied 1", "watched_files unchanged applied 2",
			"reread reload applied 1")
	})
}

// The commands of an entry are those of its last attempt.
func TestHistory_CommandsOfLastAttempt(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.answer(sdk.Result{Commands: make([]sdk.Command, history.MaxCommands+7)})
		env.sink.setError("v1:a", sdk.Deferred("wait", time.Hour))
		env.emitServices("a")
		if c := env.changes()[0]; len(c.Commands) != history.MaxCommands || c.CommandsMore != 7 {
			t.Errorf("%d commands and %d more", len(c.Commands), c.CommandsMore)
		}
		env.answer(sdk.Result{Commands: make([]sdk.Command, 3)})
		env.sink.setError("v1:a", nil)
		env.pass(2 * time.Hour)
		if c := env.changes()[0]; c.Attempts != 2 || len(c.Commands) != 3 || c.CommandsMore != 0 {
			t.Errorf("after %d attempts %d commands and %d more", c.Attempts, len(c.Commands), c.CommandsMore)
		}
	})
}

// A document that the sink lost is in effect again when the sink says that it has it, and has an entry that says so.
func TestHistory_LostDocumentIsInEffectAgain(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.answer(sdk.Result{Action: sdk.ActionUnchanged})
		env.emitLost(sdk.Lost{Err: errPlain})
		env.requestApply()
		var got []string
		for _, c := range env.changes() {
			got = append(got, fmt.Sprint(c.Document, " ", c.Trigger.Kind, " ", c.Outcome))
		}
		if diff := cmp.Diff([]string{"1 source applied", "1 lost lost", "1 lost applied"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		log, err := env.engine.History("p")
		env.must(err)
		if c := log.InEffect(); c == nil || c.Generation != 3 || !c.Updated.Equal(env.status().Since) {
			t.Errorf("in effect %+v, since %v", c, env.status().Since)
		}
	})
}

// The document of a template that failed is superseded when the template is edited back to the one in effect.
func TestHistory_TemplateIsEditedBack(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.sink.setError("v2:a", errPlain)
		env.edit("v2")
		if c := env.changes()[1]; c.Outcome != history.OutcomeFailed {
			t.Errorf("got %+v", c)
		}
		env.edit("v1")
		if changes := env.changes(); len(changes) != 2 || changes[1].Outcome != history.OutcomeSuperseded {
			t.Errorf("got %+v", changes)
		}
	})
}

// The last reload is the last one that happened, and not the last one that was reported.
func TestHistory_LateEvent(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.pass(time.Hour)
		env.emitServices("b")
		reloaded := time.Now()
		env.pass(time.Hour)
		env.emitEvent(sdk.Event{Kind: sdk.EventRestarted, Time: reloaded.Add(-time.Minute)})
		if last := env.status().LastReload; last.Generation != 2 || !last.Updated.Equal(reloaded) {
			t.Errorf("the last reload is %+v", last)
		}
		started := reloaded.Add(time.Minute)
		env.emitEvent(sdk.Event{Kind: sdk.EventRestarted, Time: started, Generation: 1})
		if last := env.status().LastReload; last.Event != sdk.EventRestarted || !last.Updated.Equal(started) {
			t.Errorf("the last reload is %+v", last)
		}
	})
}

// The error of a rejected document names the line of the template, also if the document is one that is applied again.
func TestHistory_RejectionNamesTemplateLine(t *testing.T) {
	runLines(t, func(env *testEnv) {
		errorOf := func() string {
			changes := env.changes()
			return changes[len(changes)-1].Error
		}
		env.emitInstances("web/1 bad")
		const want = `the proxy says no: /etc/main:3 (lines.tmpl:3, service "web", instance "1" on h): bad`
		if got := errorOf(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		env.sink.rejects("nothing")
		env.emitInstances("web/1 good")
		env.sink.rejects("good")
		env.sink.restarted <- struct{}{}
		synctest.Wait()
		if got, want := errorOf(), strings.ReplaceAll(want, "bad", "good"); got != want {
			t.Errorf("after a restart of the sink: got %q, want %q", got, want)
		}
	})
}

// An entry about a failed attempt to load files stays as it is when the document is applied again.
func TestHistory_FailedRereadStays(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		env.emitServices("a")
		env.rereads(errNotLoaded)
		env.files.write("/certs/a", "bad")
		env.rereads(nil)
		env.sink.set(false, nil)
		env.requestApply()
		want := []history.Change{
			reread(history.TriggerInputs, "/certs/a", 1), applied(1, history.TriggerRequest, "192.0.2.9"),
		}
		want[0].Outcome, want[0].Action, want[0].Reason = history.OutcomeNotLoaded, sdk.ActionUnchanged, ""
		want[0].Error = errNotLoaded.Error()
		var got []history.Change
		for _, c := range env.changes()[1:] {
			got = append(got, reasonOf(c))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A deferred document is not superseded by a newer one that the sink rejects: it is still applied in time.
func TestHistory_DeferredStaysWhenNewerIsRejected(t *testing.T) {
	runHistory(t, newFakeStateStore(), Guard{}, func(t *testing.T, env *historyEnv) {
		outcomes := func() (all []string) {
			for _, c := range env.changes() {
				all = append(all, fmt.Sprint(c.Document, " ", c.Outcome, " ", c.Attempts))
			}
			return all
		}
		want := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, outcomes()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
		env.emitServices("a")
		env.sink.setError("v1:b", sdk.Deferred("wait", time.Hour))
		env.sink.setError("v1:c", sdk.Rejectf("wrong"))
		env.emitServices("b")
		env.emitServices("c")
		want("1 applied 1", "2 deferred 1", "3 rejected 1")
		env.sink.setError("v1:b", nil)
		env.pass(2 * time.Hour)
		want("1 applied 1", "2 applied 2", "3 rejected 1")
		env.emitServices("d")
		want("1 applied 1", "2 applied 2", "3 rejected 1", "4 applied 1")
	})
}
