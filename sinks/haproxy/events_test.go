package haproxy

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// reported collects the events of a sink.
type reported struct {
	mu     sync.Mutex
	events []sdk.Event
}

// eventsOf returns a collector of the events of s, on which nothing was called yet.
func eventsOf(s *Sink) *reported {
	r := &reported{}
	s.OnEvent(func(e sdk.Event) {
		s.log.Info("event", "kind", e.Kind, "reason", e.Reason, "commands", e.Commands, "details", e.Details)
		r.add(e)
	})
	return r
}

func (r *reported) add(e sdk.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *reported) all() []sdk.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *reported) kinds() string {
	var kinds []string
	for _, e := range r.all() {
		kinds = append(kinds, e.Kind)
	}
	return strings.Join(kinds, " ")
}

// await waits for an event of that kind and returns the first one.
func (r *reported) await(t *testing.T, kind string) sdk.Event {
	t.Helper()
	isKind := func(e sdk.Event) bool { return e.Kind == kind }
	eventually(t, "an event "+kind, func() bool { return slices.ContainsFunc(r.all(), isKind) })
	all := r.all()
	return all[slices.IndexFunc(all, isKind)]
}

func TestEvents_HAProxyIsKilled(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"worker", "master"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			s := r.sink()
			events := eventsOf(s)
			doc := r.document("one")
			doc.Generation = 7
			r.apply(s, doc, sdk.ActionRestart)
			before := r.running(s)
			if who == "worker" {
				kill(t, before.Worker)
			} else {
				kill(t, before.Pids[0])
			}
			restarted := events.await(t, sdk.EventRestarted)
			if got := events.kinds(); got != "crashed restarted" {
				t.Fatalf("the events are %q", got)
			}
			crashed := events.all()[0]
			for _, pid := range []int{before.Pids[0], before.Worker} {
				if !strings.Contains(crashed.Reason, strconv.Itoa(pid)) {
					t.Errorf("the reason does not name process %d: %s", pid, crashed.Reason)
				}
			}
			if who == "worker" && (!strings.Contains(crashed.Reason, "137") || len(crashed.Details) == 0) {
				t.Errorf("the exit code or the log is missing: %s, %q", crashed.Reason, crashed.Details)
			}
			if now := r.running(s); !strings.Contains(restarted.Reason, strconv.Itoa(now.Worker)) ||
				!strings.Contains(restarted.Reason, "attempt 1") {
				t.Errorf("the restart is %q, HAProxy is %v", restarted.Reason, now)
			}
			for _, e := range events.all() {
				if e.Generation != 7 || time.Since(e.Time) > time.Hour || len(e.Commands) > 0 {
					t.Errorf("got %+v", e)
				}
			}
		})
	}
}

// In a crash loop each attempt is an event, until there are many.
func TestEvents_HAProxyDoesNotStart(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	events := eventsOf(s)
	r.apply(s, r.document("one"), sdk.ActionRestart)
	s.change.Lock() // until the port is taken
	now := r.running(s)
	kill(t, now.Pids[0])
	eventually(t, "HAProxy has ended", func() bool { return !now.Alive() && r.served() == "" })
	free := r.occupyPort(r.port)
	s.change.Unlock()
	failed := events.await(t, sdk.EventLoadFailed)
	if !strings.Contains(failed.Reason, "attempt 1") || !strings.Contains(failed.Reason, strconv.Itoa(r.port)) {
		t.Errorf("the reason is %q", failed.Reason)
	}
	if got := fact(t, s, "restarting"); got != "yes" {
		t.Errorf("restarting is %q", got)
	}
	eventually(t, "Health says when the next attempt is", func() bool { // it does not during an attempt
		next, err := time.Parse(time.RFC3339, fact(t, s, "next_start"))
		return err == nil && time.Until(next) < 2*maxRestartInterval
	})
	free()
	restarted := events.await(t, sdk.EventRestarted)
	if strings.Contains(restarted.Reason, "attempt 1,") || strings.Count(events.kinds(), sdk.EventCrashed) != 1 {
		t.Errorf("the events are %q, the restart %q", events.kinds(), restarted.Reason)
	}
	r.wantServed("one")
}

// A HAProxy that ends soon after each start is in a crash loop, although it runs again for a moment each time.
func TestEvents_CrashLoop(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	events := eventsOf(s)
	crashes := withGlobal(r.document("one"), "    lua-load "+
		r.luaThat("core.register_task(function() core.msleep(2500) os.exit(7) end)")+"\n")
	r.apply(s, crashes, sdk.ActionRestart)
	eventually(t, "HAProxy was started again often", func() bool { return s.state.Load().restarts > crashLoopEnds })
	eventually(t, "HAProxy runs again", func() bool { return s.state.Load().running.Alive() })
	if got := fact(t, s, "restarting"); got != "yes" {
		t.Errorf("restarting is %q", got)
	}
	if got := events.kinds(); !strings.HasPrefix(got, "crashed restarted crashed restarted ") {
		t.Fatalf("the events are %q", got)
	}
	crashed, restarted := events.all()[2], events.all()[3]
	if !strings.Contains(crashed.Reason, "code 7") || !strings.Contains(restarted.Reason, "attempt 2") {
		t.Errorf("got %q and %q", crashed.Reason, restarted.Reason)
	}
}

func TestEvents_ForeignReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.watchful()
	events := eventsOf(s)
	r.apply(s, r.document("one"), sdk.ActionRestart)
	before := r.running(s)
	check(t, s.files.Acquire(t.Context(), 1)) // so that the file is not restored before it is loaded
	check(t, os.WriteFile(r.cfg.ConfigFile, r.document("else").Files[0].Content, 0o644))
	check(t, syscall.Kill(before.Pids[0], syscall.SIGUSR2))
	eventually(t, "the other configuration is served", func() bool { return r.served() == "else" })
	s.files.Release(1)
	reloaded := events.await(t, sdk.EventReloaded)
	foreign := events.await(t, sdk.EventForeignReload)
	if !strings.Contains(foreign.Reason, strconv.Itoa(before.Worker)) || foreign.Generation != 0 {
		t.Errorf("got %+v", foreign)
	}
	if !strings.Contains(reloaded.Reason, "another program") || reloaded.Generation != 1 {
		t.Errorf("got %+v", reloaded)
	}
	if drift := events.await(t, sdk.EventDriftRepaired); !strings.Contains(drift.Reason, r.cfg.ConfigFile) {
		t.Errorf("got %+v", drift)
	}
	r.wantServed("one")
}

func TestEvents_DriftRepaired(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	events := eventsOf(s)
	r.apply(s, r.lines("server a "+a.address, "server b "+b.address), sdk.ActionRestart)
	r.ask(s, "set server app/b weight 0")
	drift := events.await(t, sdk.EventDriftRepaired)
	if !slices.Equal(drift.Commands, []sdk.Command{{Sent: "set server app/b weight 1"}}) || drift.Generation != 1 ||
		!strings.Contains(drift.Reason, "app") {
		t.Errorf("got %+v", drift)
	}
	if got := fact(t, s, "drift_repairs"); got != "1" {
		t.Errorf("%s repairs", got)
	}
	check(t, os.WriteFile(r.cfg.ConfigFile, []byte("rubbish\n"), 0o644))
	eventually(t, "the file is restored", func() bool { return fact(t, s, "drift_repairs") == "2" })
	if last := events.all()[1]; last.Kind != sdk.EventDriftRepaired || !strings.Contains(last.Reason, r.cfg.ConfigFile) {
		t.Errorf("got %+v", last)
	}
}

func TestEvents_AreReportedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := &reported{}
		e := &events{report: got.add}
		const hours = 60
		for range hours * 120 { // one in thirty seconds
			e.add(sdk.Event{Kind: sdk.EventCrashed, Reason: "it crashed"})
			time.Sleep(30 * time.Second)
		}
		all := got.all()
		if len(all) < eventBurst+10 || len(all) > eventBurst+10+hours/6 {
			t.Errorf("%d events are reported in %d hours", len(all), hours)
		}
		if all[eventBurst-1].Reason != "it crashed" || all[eventBurst].Reason == "it crashed" {
			t.Errorf("what was left out is not said: %q, %q", all[eventBurst-1].Reason, all[eventBurst].Reason)
		}
		e.add(sdk.Event{Kind: sdk.EventRestarted})
		if last := got.all()[len(all)]; last.Kind != sdk.EventRestarted {
			t.Errorf("an event of another kind is left out")
		}
		e.finish()
		if more := len(got.all()) - len(all); more != 1 {
			t.Errorf("%d events are reported before it is quiet", more)
		}
		time.Sleep(eventQuietAfter)
		e.finish()
		e.finish()
		if last := got.all()[len(all)+1:]; len(last) != 1 || last[0].Kind != sdk.EventCrashed || last[0].Time.After(time.Now()) {
			t.Errorf("what was left out at the end is reported as %+v", last)
		}
		for range eventBurst {
			e.add(sdk.Event{Kind: sdk.EventCrashed, Reason: "it crashed"})
		}
		if more := len(got.all()) - len(all) - 2; more != eventBurst {
			t.Errorf("%d events are reported after it was quiet", more)
		}
	})
}

// Soon after a series of events the last one of them is known, although it was left out.
func TestEvents_LastOfASeriesIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := &reported{}
		e := &events{report: got.add}
		var last time.Time
		for range eventBurst + 3 {
			time.Sleep(5 * time.Second)
			last = time.Now()
			e.add(sdk.Event{Kind: sdk.EventRestarted})
		}
		for range 5 * time.Minute / superviseInterval {
			time.Sleep(superviseInterval)
			e.finish()
		}
		if all := got.all(); len(all) != eventBurst+1 || !all[eventBurst].Time.Equal(last) {
			t.Errorf("got %+v", all)
		}
	})
}
