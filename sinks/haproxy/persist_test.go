package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// A pacing records the runs of paced. Each takes a while, and leaves work for another one as often as it is told.
type pacing struct {
	waits    time.Duration // before each run, for another holder of the lock
	takes    time.Duration
	failures int // runs that leave what was requested
	requests chan struct{}
	pending  atomic.Bool
	began    []time.Time
	busy     time.Duration
}

func (p *pacing) request() {
	p.pending.Store(true)
	select {
	case p.requests <- struct{}{}:
	default:
	}
}

func (p *pacing) run() time.Duration {
	time.Sleep(p.waits)
	p.began = append(p.began, time.Now())
	p.pending.Store(false)
	time.Sleep(p.takes)
	p.busy += p.takes
	if p.failures > 0 {
		p.failures--
		p.pending.Store(true)
	}
	return p.takes
}

// pacedFor runs paced for a while with a request at each interval; an interval of 0 means one request.
func pacedFor(t *testing.T, p *pacing, interval, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p.requests = make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		paced(ctx, p.requests, p.pending.Load, p.run)
	}()
	p.request()
	for interval > 0 && ctx.Err() == nil {
		sleep(ctx, interval)
		p.request()
	}
	<-ended
}

func TestPaced_SteadyRequests(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{time.Millisecond, 99 * time.Millisecond, 300 * time.Millisecond, 7 * time.Second} {
		t.Run(takes.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pacing{takes: takes}
				began := time.Now()
				const limit = 10 * time.Minute
				pacedFor(t, p, 10*time.Millisecond, limit)
				if first := p.began[0].Sub(began); first != persistDelay {
					t.Errorf("the first run was after %v", first)
				}
				least := max(persistInterval, persistShare*takes)
				for i := range p.began[1:] {
					if between := p.began[i+1].Sub(p.began[i]); between < least || between > least+persistDelay {
						t.Fatalf("%v from one beginning to the next, want %v", between, least)
					}
				}
				if p.busy > limit/persistShare+takes {
					t.Errorf("busy for %v of %v", p.busy, limit)
				}
			})
		})
	}
}

func TestPaced_RequestAfterAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pacing{takes: 50 * time.Millisecond}
		pacedFor(t, p, time.Minute, time.Minute+time.Second)
		if len(p.began) != 2 || p.began[1].Sub(p.began[0]) != time.Minute {
			t.Errorf("runs at %v", p.began)
		}
	})
}

// Only the time that run reports counts.
func TestPaced_RunHasToWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pacing{waits: 30 * time.Second, takes: 50 * time.Millisecond}
		pacedFor(t, p, 10*time.Millisecond, 10*time.Minute)
		for i := range p.began[1:] {
			if between := p.began[i+1].Sub(p.began[i]); between != p.waits+persistInterval {
				t.Fatalf("%v from one beginning to the next", between)
			}
		}
	})
}

// A failed run is retried at the same rate without another request, until one succeeds.
func TestPaced_Failures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pacing{takes: 200 * time.Millisecond, failures: 3}
		pacedFor(t, p, 0, time.Hour)
		if len(p.began) != 4 {
			t.Fatalf("%d runs", len(p.began))
		}
		for i := range p.began[1:] {
			if between := p.began[i+1].Sub(p.began[i]); between != 2*time.Second {
				t.Errorf("%v from one beginning to the next", between)
			}
		}
	})
}

func TestPaced_RequestDuringARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pacing{takes: 50 * time.Millisecond}
		pacedFor(t, p, persistDelay+p.takes/2, persistDelay+p.takes*3/4) // the second request is made while the first one runs
		if len(p.began) != 1 {
			t.Fatalf("%d runs", len(p.began))
		}
		p = &pacing{takes: 50 * time.Millisecond}
		pacedFor(t, p, persistDelay+p.takes/2, 2*persistInterval)
		if len(p.began) < 2 {
			t.Errorf("%d runs, and one of them is older than the last request", len(p.began))
		}
	})
}

// counting makes HAProxy's check append a line to a file, and wait while the file gate exists.
func (r *testEnv) counting() (checks func() int) {
	r.t.Helper()
	counts, script := r.path("checks"), r.path("haproxy-counting")
	check(r.t, os.WriteFile(counts, nil, 0o600))
	writeProgram(r.t, script, fmt.Appendf(nil, `#!/bin/sh
if [ "$1" = -c ]; then
	echo check >> %s
	while [ -e %s ]; do sleep 0.02; done
	for file; do
		if [ -f "$file" ] && grep -q refuse-me "$file"; then exit 1; fi
	done
fi
exec %s "$@"
`, counts, r.path("gate"), r.cfg.Binary))
	r.cfg.Binary = script
	r.t.Cleanup(func() { _ = os.Remove(r.path("gate")) })
	return func() int {
		content, err := os.ReadFile(counts)
		check(r.t, err)
		return strings.Count(string(content), "check")
	}
}

// shut makes HAProxy's check wait until the returned function is called.
func (r *testEnv) shut() (open func()) {
	check(r.t, os.WriteFile(r.path("gate"), nil, 0o600))
	return func() { check(r.t, os.Remove(r.path("gate"))) }
}

// The test sets the time, so that a slow machine makes fewer changes without another outcome.
func TestPersist_SteadyChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	checks := r.counting()
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	before, began := checks(), time.Now()
	var last sdk.Document
	for weight := 1; weight < 200 || time.Since(began) < 3*persistInterval; weight++ {
		last = r.lines("server a "+a.address, fmt.Sprintf("server b %s weight %d", b.address, 1+weight%200))
		r.apply(s, last, sdk.ActionRuntime)
	}
	made, most := checks()-before, 1+int(time.Since(began)/persistInterval)
	if made > most {
		t.Errorf("%d checks, want %d at most", made, most)
	}
	r.awaitDisk(last)
	r.wantAnswers("a b")
}

// After a failed reload the disk has what ran before, including changes at run time.
func TestPersist_BeforeAReloadThatFails(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	persisted := r.lines("server b "+b.address, "server a "+a.address)
	r.apply(s, persisted, sdk.ActionRuntime)
	r.awaitDisk(persisted)
	pending := r.lines("server b " + b.address)
	r.apply(s, pending, sdk.ActionRuntime)
	_, err := s.Apply(t.Context(), withGlobal(pending, r.onlyAStartFinds()["socket"][0]))
	if !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	r.wantOnDisk(pending)
	r.wantAnswers("b")
	wantHealthy(t, s)
}

// A change at run time just before HAProxy ends is part of the restarted HAProxy.
func TestPersist_HAProxyEnds(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	for _, doc := range []sdk.Document{r.lines("server a "+a.address, "server b "+b.address), r.lines("server b " + b.address)} {
		r.apply(s, doc, sdk.ActionRuntime) // the second one is pending for about a second
		before := r.running(s)
		kill(t, before.Pids[0])
		r.awaitOther(s, before)
		r.wantOnDisk(doc)
	}
	r.wantAnswers("b")
	wantHealthy(t, s)
}

func TestPersist_AtTheEnd(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	first := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, first, sdk.ActionRuntime)
	r.awaitDisk(first)
	last := r.lines("server b " + b.address)
	r.apply(s, last, sdk.ActionRuntime)
	r.stop(s)
	r.wantOnDisk(last)
	r.apply(r.sink(), last, sdk.ActionUnchanged)
}

// A change that the check rejects is reverted, also if others were made during the check: the last one of these is checked
// next, and no further change is made without a check.
func TestPersist_RefusedUnderSteadyChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	checks := r.counting()
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	lost := make(chan sdk.Lost, 10)
	s.OnLost(func(l sdk.Lost) { lost <- l })
	before := r.lines("server a " + a.address)
	r.apply(s, before, sdk.ActionRestart)
	open, made := r.shut(), checks()
	r.apply(s, r.lines("server b "+b.address, "# refuse-me"), sdk.ActionRuntime)
	eventually(t, "the check runs", func() bool { return checks() > made })
	if pending := fact(t, s, "persist_pending"); pending != "1" {
		t.Errorf("persist_pending is %q", pending)
	}
	r.apply(s, r.lines("server b "+b.address+" weight 7", "# refuse-me"), sdk.ActionRuntime)
	open()
	for weight := 8; ; weight = 8 + weight%200 {
		_, err := s.Apply(t.Context(), r.lines(fmt.Sprintf("server b %s weight %d", b.address, weight), "# refuse-me"))
		if errors.Is(err, sdk.ErrRejected) {
			break
		}
		check(t, err)
		if checks() > made+20 {
			t.Fatal("changes go on to be made, although the check refuses them")
		}
	}
	if l := <-lost; !errors.Is(l.Err, sdk.ErrRejected) || len(l.Commands) == 0 {
		t.Errorf("lost %+v", l)
	}
	r.wantAnswers("a")
	r.wantOnDisk(before)
	after := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, after, sdk.ActionRuntime)
	r.awaitDisk(after)
	eventually(t, "nothing is pending", func() bool { return fact(t, s, "persist_pending") == "0" })
	wantHealthy(t, s)
}

// After a sink was killed while it persisted a change, the next one restores a consistent state.
func TestPersist_KilledInTheMiddle(t *testing.T) {
	t.Parallel()
	killed := errors.New("killed")
	for _, test := range []struct {
		name  string
		block func(s *Sink, reach func())
	}{
		{"before the files are in place", func(s *Sink, reach func()) {
			s.commitStage = func(*stage.Stage) error { reach(); return killed }
		}},
		{"after the files are in place", func(s *Sink, reach func()) {
			s.commitStage = func(st *stage.Stage) error { _ = st.Commit(); reach(); return killed }
		}},
		{"before the state file is written", func(s *Sink, reach func()) {
			s.writeStateFile = func(stateFile, string) error { reach(); return killed }
		}},
		{"after the state file is written", func(s *Sink, reach func()) {
			s.writeStateFile = func(r stateFile, path string) error { _ = r.write(path); reach(); return killed }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			first, err := New(sdk.Env{}, r.cfg)
			check(t, err)
			r.apply(first, r.lines("server a "+a.address), sdk.ActionRestart)
			reached, end := make(chan struct{}, 10), make(chan struct{})
			check(t, first.lockFiles(t.Context()))
			test.block(first, func() {
				reached <- struct{}{}
				<-end
			})
			first.files.Release(1)
			doc := r.lines("server b " + b.address)
			r.apply(first, doc, sdk.ActionRuntime)
			<-reached
			first.change.Lock() // as good as dead
			stopped := make(chan struct{})
			t.Cleanup(func() {
				go func() {
					defer close(stopped)
					_ = first.Stop(context.Background())
				}()
				<-first.stopped
				close(end)
				first.change.Unlock()
				<-stopped
			})

			next := r.sink()
			if _, err := next.Apply(t.Context(), doc); err != nil {
				t.Fatal(err)
			}
			r.wantAnswers("b")
			r.awaitDisk(doc)
			r.wantAsFresh(next)
			wantHealthy(t, next)
			r.apply(next, doc, sdk.ActionUnchanged)
		})
	}
}

// A change stays in a HAProxy that serves it while it cannot be written, whatever the reason for a reload is.
func TestPersist_DiskIsFullWhenHAProxyHasToBeReloaded(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	lost := lostBy(s)
	var full atomic.Bool
	var failed atomic.Int64
	s.commitStage = func(st *stage.Stage) error {
		if full.Load() {
			failed.Add(1)
			return syscall.ENOSPC
		}
		return st.Commit()
	}
	one := r.lines("server a " + a.address)
	r.apply(s, one, sdk.ActionRestart)
	full.Store(true)
	both := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, both, sdk.ActionRuntime)
	s.change.Lock()
	before := failed.Load()
	s.update(func(st *state) { st.invalidate(st.running, "") }) // as when nobody knows what HAProxy runs
	s.change.Unlock()
	eventually(t, "persisting the change was attempted", func() bool { return failed.Load() > before+1 })
	r.wantAnswers("a b")
	r.wantOnDisk(one)
	if problems(t, s) == "" {
		t.Error("Health reports nothing")
	}
	wantNothingLost(t, lost)
	full.Store(false)
	r.awaitDisk(both)
	wantHealthyEventually(t, s)
	r.wantAnswers("a b")
	wantNothingLost(t, lost)
}

// A cancelled reload does not wait for a slow disk.
func TestApply_CancelledWhileFilesAreWritten(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	check(t, s.lockFiles(t.Context()))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	time.AfterFunc(pollInterval, func() { cancel(why) })
	if _, err := s.Apply(ctx, r.document("two")); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	s.unlockFiles()
	r.wantServed("one")
	r.apply(s, r.document("two"), sdk.ActionReload)
}
