package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

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
