package engine

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// reasonOf returns the fields of c that say why and what happened.
func reasonOf(c history.Change) history.Change {
	return history.Change{
		Document: c.Document, Trigger: c.Trigger, Event: c.Event, Outcome: c.Outcome, Action: c.Action, Reason: c.Reason,
		Error: c.Error, Attempts: c.Attempts,
	}
}

var errPlain = errors.New("connection refused")

// historyCases are one case for each trigger, outcome, action and event. Each begins with the document of service a in effect.
// The newest entry must be want.
var historyCases = []struct {
	name  string
	guard Guard
	act   func(env *historyEnv)
	want  history.Change
}{
	{name: "push", act: func(env *historyEnv) { env.emitBecause(sdk.CausePush, "192.0.2.7", "b") },
		want: applied(2, history.TriggerPush, "192.0.2.7")},
	{name: "watch", act: func(env *historyEnv) { env.emitBecause(sdk.CauseWatch, "", "b") },
		want: applied(2, history.TriggerWatch, "")},
	{name: "resync", act: func(env *historyEnv) { env.emitBecause(sdk.CauseResync, "", "b") },
		want: applied(2, history.TriggerResync, "")},
	{name: "source", act: func(env *historyEnv) { env.emitBecause("", "", "b") },
		want: applied(2, history.TriggerSource, "")},
	{name: "released by request", guard: testGuard, act: func(env *historyEnv) {
		env.emitBecause(sdk.CausePush, "192.0.2.7")
		_, err := env.engine.Release("p", "192.0.2.9")
		env.must(err)
		synctest.Wait()
	}, want: applied(2, history.TriggerRelease, "by request from 192.0.2.9")},
	{name: "released in time", guard: testGuard, act: func(env *historyEnv) {
		env.emitBecause(sdk.CausePush, "192.0.2.7")
		env.pass(testGuard.Hold)
	}, want: applied(2, history.TriggerRelease, "its time is over")},
	{name: "template", act: func(env *historyEnv) { env.edit("v2") },
		want: applied(2, history.TriggerSave, "haproxy.cfg.tmpl")},
	{name: "configuration", act: func(env *historyEnv) {
		env.templates = newFakeTemplates("v2")
		env.must(env.change(env.config(Guard{}, nil)))
	}, want: applied(2, history.TriggerConfig, "")},
	{name: "request", act: func(env *historyEnv) { env.requestApply() },
		want: applied(1, history.TriggerRequest, "192.0.2.9")},
	{name: "sink restart", act: func(env *historyEnv) {
		env.sink.restarted <- struct{}{}
		synctest.Wait()
	}, want: applied(1, history.TriggerRestart, "")},
	{name: "lost, applied again", act: func(env *historyEnv) { env.emitLost(sdk.Lost{Err: errPlain}) },
		want: applied(1, history.TriggerLost, "")},
	{name: "lost", act: func(env *historyEnv) { env.emitLost(sdk.Lost{Err: errNotLoaded}) },
		want: history.Change{
			Document: 1, Trigger: history.Trigger{Kind: history.TriggerLost}, Event: sdk.EventReverted,
			Outcome: history.OutcomeLost, Error: errNotLoaded.Error(),
		}},
	{name: "watched files", act: func(env *historyEnv) {
		env.rereads(nil)
		env.files.write("/certs/a", "2")
	}, want: reread(history.TriggerInputs, "/certs/a", 1)},
	{name: "watched files, failed and retried", act: func(env *historyEnv) {
		env.rereads(errPlain)
		env.files.write("/certs/a", "2")
		env.rereads(nil)
		env.pass(time.Minute)
	}, want: reread(history.TriggerInputs, "/certs/a", 2)},
	{name: "reread", act: func(env *historyEnv) {
		env.rereads(nil)
		env.engine.Reread()
		synctest.Wait()
	}, want: reread(history.TriggerReread, "", 1)},

	{name: "deferred", act: func(env *historyEnv) {
		env.sink.setError("v1:b", sdk.Deferred("one reload in five seconds", time.Hour))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	}, want: failed(history.OutcomeDeferred, "one reload in five seconds", 1)},
	{name: "deferred, applied later", act: func(env *historyEnv) {
		env.sink.setError("v1:b", sdk.Deferred("one reload in five seconds", time.Hour))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
		env.sink.setError("v1:b", nil)
		env.pass(time.Hour)
	}, want: again(applied(2, history.TriggerPush, "192.0.2.7"), 2)},
	{name: "failed", act: func(env *historyEnv) {
		env.sink.setError("v1:b", sdk.RetryAfter(errPlain, time.Hour))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	}, want: failed(history.OutcomeFailed, errPlain.Error(), 1)},
	{name: "failed, applied later", act: func(env *historyEnv) {
		env.sink.setError("v1:b", sdk.RetryAfter(errPlain, time.Hour))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
		env.sink.setError("v1:b", nil)
		env.requestApply()
	}, want: again(applied(2, history.TriggerPush, "192.0.2.7"), 2)},
	{name: "rejected", act: func(env *historyEnv) {
		env.sink.setError("v1:b", sdk.Rejectf("line 3 is wrong"))
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	}, want: failed(history.OutcomeRejected, "line 3 is wrong", 1)},
	{name: "not loaded", act: func(env *historyEnv) {
		env.sink.setError("v1:b", errNotLoaded)
		env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	}, want: failed(history.OutcomeNotLoaded, errNotLoaded.Error(), 1)},

	{name: "runtime", act: func(env *historyEnv) { env.changeWith(sdk.ActionRuntime) }, want: did(sdk.ActionRuntime)},
	{name: "reload", act: func(env *historyEnv) { env.changeWith(sdk.ActionReload) }, want: did(sdk.ActionReload)},
	{name: "restart", act: func(env *historyEnv) { env.changeWith(sdk.ActionRestart) }, want: did(sdk.ActionRestart)},
	{name: "written", act: func(env *historyEnv) { env.changeWith(sdk.ActionWritten) }, want: did(sdk.ActionWritten)},
	{name: "unchanged", act: func(env *historyEnv) { env.changeWith(sdk.ActionUnchanged) }, want: did(sdk.ActionUnchanged)},
	{name: "another action", act: func(env *historyEnv) { env.changeWith("invented") }, want: did(sdk.ActionOther)},

	{name: "crashed", act: func(env *historyEnv) { env.emitEvent(sdk.Event{Kind: sdk.EventCrashed, Reason: "signal 9"}) },
		want: event1(sdk.EventCrashed)},
	{name: "restarted", act: func(env *historyEnv) { env.emitEvent(sdk.Event{Kind: sdk.EventRestarted, Reason: "signal 9"}) },
		want: event1(sdk.EventRestarted)},
	{name: "reloaded", act: func(env *historyEnv) { env.emitEvent(sdk.Event{Kind: sdk.EventReloaded, Reason: "signal 9"}) },
		want: event1(sdk.EventReloaded)},
	{name: "reloaded by another program", act: func(env *historyEnv) {
		env.emitEvent(sdk.Event{Kind: sdk.EventForeignReload, Reason: "signal 9"})
	}, want: event1(sdk.EventForeignReload)},
	{name: "drift repaired", act: func(env *historyEnv) {
		env.emitEvent(sdk.Event{Kind: sdk.EventDriftRepaired, Reason: "signal 9"})
	}, want: event1(sdk.EventDriftRepaired)},
	{name: "load failed", act: func(env *historyEnv) { env.emitEvent(sdk.Event{Kind: sdk.EventLoadFailed, Reason: "signal 9"}) },
		want: event1(sdk.EventLoadFailed)},
	{name: "another event", act: func(env *historyEnv) { env.emitEvent(sdk.Event{Kind: "invented", Reason: "signal 9"}) },
		want: event1(sdk.EventOther)},
	{name: "crashed three times", act: func(env *historyEnv) {
		for range 3 {
			env.emitEvent(sdk.Event{Kind: sdk.EventCrashed, Reason: "signal 9"})
		}
	}, want: again(event1(sdk.EventCrashed), 3)},
}

func applied(document uint64, trigger, detail string) history.Change {
	return history.Change{
		Document: document, Trigger: history.Trigger{Kind: trigger, Detail: detail}, Outcome: history.OutcomeApplied,
		Action: sdk.ActionReload, Attempts: 1,
	}
}

func again(c history.Change, attempts int) history.Change {
	c.Attempts = attempts
	return c
}

func reread(trigger, detail string, attempts int) history.Change {
	c := again(applied(1, trigger, detail), attempts)
	c.Reason = "a file changed"
	return c
}

func failed(outcome, err string, attempts int) history.Change {
	c := again(applied(2, history.TriggerPush, "192.0.2.7"), attempts)
	c.Outcome, c.Error = outcome, err
	return c
}

func did(action string) history.Change {
	c := applied(2, history.TriggerPush, "192.0.2.7")
	c.Action, c.Reason = action, "because"
	return c
}

func event1(kind string) history.Change {
	return history.Change{
		Document: 1, Trigger: history.Trigger{Kind: history.TriggerSink}, Event: kind, Outcome: history.OutcomeEvent,
		Reason: "signal 9", Attempts: 1,
	}
}

// rereads makes the next Reread find something to load, or fail.
func (env *historyEnv) rereads(err error) { env.sink.set(err == nil, err) }

func (env *historyEnv) changeWith(action string) {
	env.answer(sdk.Result{Action: action, Reason: "because"})
	env.emitBecause(sdk.CausePush, "192.0.2.7", "b")
	env.answer(sdk.Result{})
}

// Each entry says what happened and why, also when 50 others have followed, and after a restart of the daemon.
func TestHistory_EntryTellsReason(t *testing.T) {
	for _, test := range historyCases {
		t.Run(test.name, func(t *testing.T) {
			store := newFakeStateStore()
			var entry history.Change
			runHistory(t, store, test.guard, func(t *testing.T, env *historyEnv) {
				env.emitServices("a")
				test.act(env)
				changes := env.changes()
				entry = changes[len(changes)-1]
				if diff := cmp.Diff(test.want, reasonOf(entry)); diff != "" {
					t.Fatalf("-want +got:\n%s", diff)
				}
				if seen := env.observer.seen; !cmp.Equal(seen[len(seen)-1], entry) {
					t.Errorf("observed %+v, want %+v", seen[len(seen)-1], entry)
				}
				for n := range 50 {
					env.emitServices("a", fmt.Sprintf("later-%d", n))
				}
				env.wantEntry(entry)
			})
			runHistory(t, store, test.guard, func(_ *testing.T, env *historyEnv) { env.wantEntry(entry) })
		})
	}
}

// wantEntry checks that the history has an entry as it was. A newer document may have replaced one that was not in effect.
func (env *historyEnv) wantEntry(want history.Change) {
	env.t.Helper()
	log, err := env.engine.History("p")
	env.must(err)
	got, ok := log.Get(want.Generation)
	if want.Outcome == history.OutcomeDeferred || want.Outcome == history.OutcomeFailed {
		want.Outcome, want.Updated, want.Seconds = history.OutcomeSuperseded, got.Updated, got.Seconds
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		env.t.Errorf("generation %d: %v, -want +got:\n%s", want.Generation, ok, diff)
	}
}
