package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

func isNotLoaded(err error) bool {
	return errors.Is(err, sdk.ErrNotLoaded)
}

// onlyAStartFinds are lines of a global section that HAProxy's check accepts and that keep its worker from starting, with a word
// that HAProxy says then.
func (r *testEnv) onlyAStartFinds() map[string][2]string {
	return map[string][2]string{
		"chroot": {"    chroot " + r.path("nowhere") + "\n", r.path("nowhere")},
		"socket": {"    stats socket " + r.path("nowhere/x.sock") + "\n", "nowhere"},
		"ulimit": {"    ulimit-n 999999999\n    strict-limits\n", "999999999"},
		"lua":    {"    lua-load " + r.luaThat("core.register_init(function() error('no backend') end)") + "\n", "no backend"},
	}
}

// luaThat writes a Lua file and returns its path.
func (r *testEnv) luaThat(does string) string {
	r.t.Helper()
	path := r.path("program.lua")
	check(r.t, os.WriteFile(path, []byte(does+"\n"), 0o600))
	return path
}

// ending returns a line of a global section with which HAProxy ends with that exit code once end is called.
func (r *testEnv) ending(code int) (line string, end func()) {
	r.t.Helper()
	file := r.path("end")
	lua := r.luaThat(fmt.Sprintf("core.register_task(function()\n  while not io.open(%q) do core.msleep(50) end\n"+
		"  os.exit(%d)\nend)", file, code))
	return "    lua-load " + lua + "\n", func() { check(r.t, os.WriteFile(file, nil, 0o600)) }
}

func withGlobal(doc sdk.Document, lines string) sdk.Document {
	return edited(doc, "global\n", "global\n"+lines)
}

func reloadsOf(t *testing.T, s *Sink) string { return fact(t, s, "reloads") }

func fact(t *testing.T, s *Sink, name string) string {
	t.Helper()
	h, err := s.Health(t.Context())
	check(t, err)
	return h.Facts[name]
}

func TestApply_FailsToLoadAfterTheCheck(t *testing.T) {
	t.Parallel()
	for name := range newTestEnv(t).onlyAStartFinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			line := r.onlyAStartFinds()[name]
			s := r.sink()
			events := eventsOf(s)
			r.apply(s, r.document("one"), sdk.ActionRestart)
			before := s.state.Load().running
			_, err := s.Apply(t.Context(), withGlobal(r.document("two"), line[0]))
			if !isNotLoaded(err) || !strings.Contains(err.Error(), line[1]) {
				t.Errorf("got %T %v", err, err)
			}
			if served := r.served(); served != "one" {
				t.Errorf("served %q", served)
			}
			wantHealthy(t, s)
			want := "restarted"
			if s.state.Load().running.Same(before) {
				want = ""
			}
			if got := events.kinds(); got != want {
				t.Errorf("the events are %q, want %q", got, want)
			}
			r.apply(s, r.document("one"), sdk.ActionUnchanged)
			r.wantTidy()
		})
	}
}

func TestApply_FailedLoadIsNotRepeated(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	bad := withGlobal(r.document("two"), "    chroot "+r.path("nowhere")+"\n")
	_, err := s.Apply(t.Context(), bad)
	if !isNotLoaded(err) {
		t.Fatalf("got %v", err)
	}
	before := reloadsOf(t, s)

	// Servers of existing backends change meanwhile.
	result, err := s.Apply(t.Context(), edited(bad, "server s1", "server s2 127.0.0.1:9\n    server s1"))
	if !isNotLoaded(err) || len(result.Commands) == 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	if after := reloadsOf(t, s); after != before {
		t.Errorf("%s reloads, then %s", before, after)
	}
	if state := r.ask(s, "show servers state app")[0]; !strings.Contains(state, " s2 ") {
		t.Errorf("the server was not added:\n%s", state)
	}

	// A retry is one load, and succeeds once the reason is gone.
	bad.Retry = true
	if _, err = s.Apply(t.Context(), bad); !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	if after := reloadsOf(t, s); after == before {
		t.Error("nothing was tried")
	}
	check(t, os.Mkdir(r.path("nowhere"), 0o700))
	if _, err := s.Apply(t.Context(), bad); err != nil {
		t.Error(err)
	}
	if served := r.served(); served != "two" {
		t.Errorf("served %q", served)
	}
}

// It is not loaded either if it is unknown what HAProxy serves, because another program has reloaded it: HAProxy loads the
// document that was applied last.
func TestApply_FailedLoadIsNotRepeatedAfterAReloadByAnotherProgram(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	bad := withGlobal(r.document("two"), "    chroot "+r.path("nowhere")+"\n")
	if _, err := s.Apply(t.Context(), bad); !isNotLoaded(err) {
		t.Fatalf("got %v", err)
	}
	r.awaitDisk(one)
	before := r.running(s)
	check(t, syscall.Kill(before.Pids[0], syscall.SIGUSR2))
	eventually(t, "HAProxy has another worker", func() bool {
		now, err := s.controller.Find(t.Context())
		return err == nil && now.Worker != 0 && !now.Same(before)
	})
	master := r.running(s).Pids
	if _, err := s.Apply(t.Context(), edited(bad, "server s1", "server s2 127.0.0.1:9\n    server s1")); !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	if now := r.running(s).Pids; !slices.Equal(now, master) {
		t.Errorf("HAProxy was %v and is %v", master, now)
	}
	r.wantServed("one")
}

// A new sink does not know which document failed to load before; the daemon does.
func TestApply_FailedLoadIsNotRepeatedByAnotherProcess(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	first := r.sink()
	r.apply(first, r.document("one"), sdk.ActionRestart)
	bad := withGlobal(r.document("two"), "    chroot "+r.path("nowhere")+"\n")
	_, err := first.Apply(t.Context(), bad)
	if !isNotLoaded(err) {
		t.Fatalf("got %v", err)
	}
	r.stop(first)

	s := r.sink()
	next := edited(bad, "server s1", "server s2 127.0.0.1:9\n    server s1")
	next.LoadFailure = err.Error()
	result, err := s.Apply(t.Context(), next)
	if !isNotLoaded(err) || err.Error() != next.LoadFailure || len(result.Commands) == 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	if reloads := reloadsOf(t, s); reloads != "0" {
		t.Errorf("%s reloads", reloads)
	}
	next.Retry = true
	if _, err = s.Apply(t.Context(), next); !isNotLoaded(err) || reloadsOf(t, s) == "0" {
		t.Errorf("a retry was not tried: %v", err)
	}
}

// lostBy returns a channel with the documents that the sink loses.
func lostBy(s *Sink) <-chan sdk.Lost {
	lost := make(chan sdk.Lost, 10)
	s.OnLost(func(l sdk.Lost) { lost <- l })
	return lost
}

func awaitLost(t *testing.T, lost <-chan sdk.Lost) sdk.Lost {
	t.Helper()
	select {
	case l := <-lost:
		return l
	case <-time.After(time.Minute):
		t.Fatal("never: the sink reports a loss")
		return sdk.Lost{}
	}
}

func wantNothingLost(t *testing.T, lost <-chan sdk.Lost) {
	t.Helper()
	select {
	case l := <-lost:
		t.Errorf("lost %+v", l)
	default:
	}
}

func (r *testEnv) awaitProven(s *Sink) {
	r.t.Helper()
	eventually(r.t, "HAProxy has stayed up", func() bool {
		st := s.state.Load()
		return st.desired == st.stable
	})
}

func TestRollBack_HAProxyEndsSoonAfterAChange(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.stableAfter = 5 * time.Second
	lost, events := lostBy(s), eventsOf(s)
	good := r.document("one")
	good.Generation = 41
	r.apply(s, good, sdk.ActionRestart)
	r.awaitProven(s)

	line, end := r.ending(7)
	bad := withGlobal(r.document("two"), line)
	bad.Generation = 42
	r.apply(s, bad, sdk.ActionReload)
	end()
	l := awaitLost(t, lost)
	if started := events.await(t, sdk.EventRestarted); started.Generation != 41 {
		t.Errorf("got %+v", started)
	}
	if !isNotLoaded(l.Err) || l.Generation != 41 || !strings.Contains(l.Err.Error(), "7") {
		t.Errorf("lost %+v", l)
	}
	if len(l.Details) == 0 {
		t.Error("what HAProxy logged last is missing")
	}
	if got := events.kinds(); got != "crashed restarted" {
		t.Errorf("the events are %q", got)
	}
	r.awaitDisk(good)
	if served := r.served(); served != "one" {
		t.Errorf("served %q", served)
	}
	wantHealthy(t, s)
	if restarts := fact(t, s, "haproxy_restarts"); restarts != "1" {
		t.Errorf("%s restarts", restarts)
	}
	before := reloadsOf(t, s)
	if _, err := s.Apply(t.Context(), bad); !isNotLoaded(err) || reloadsOf(t, s) != before {
		t.Errorf("got %v", err)
	}
	r.apply(s, r.document("three"), sdk.ActionReload)
}

// A document that another process applied is restored too, although HAProxy may have run something else when it was adopted.
func TestRollBack_HAProxyEndsSoonAfterAnAdoption(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	first := r.sink()
	good := r.document("one")
	good.Generation = 41
	r.apply(first, good, sdk.ActionRestart)
	r.stop(first)
	r.ask(first, "set server app/s1 weight 7")

	s := r.sink()
	lost := lostBy(s)
	line, end := r.ending(7)
	bad := withGlobal(r.document("two"), line)
	r.apply(s, bad, sdk.ActionReload)
	end()
	if l := awaitLost(t, lost); !isNotLoaded(l.Err) || l.Generation != 41 || l.Digest != bad.Digest {
		t.Errorf("lost %+v", l)
	}
	r.awaitDisk(good)
	if served := r.served(); served != "one" {
		t.Errorf("served %q", served)
	}
	wantHealthy(t, s)
}

// A change may follow a start before HAProxy counts as stable.
func TestRollBack_ToTheFirstDocument(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.stableAfter = time.Hour
	lost := lostBy(s)
	good := r.document("one")
	good.Generation = 41
	r.apply(s, good, sdk.ActionRestart)
	line, end := r.ending(7)
	r.apply(s, withGlobal(r.document("two"), line), sdk.ActionReload)
	end()
	if l := awaitLost(t, lost); !isNotLoaded(l.Err) || l.Generation != 41 {
		t.Errorf("lost %+v", l)
	}
	r.awaitDisk(good)
	eventually(t, "the first document serves", func() bool { return r.served() == "one" })
}

// A load may hold the lock from before HAProxy counts as stable until it no longer runs the document.
func TestLoad_RecordsTheStableDocument(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.stableAfter = 2 * time.Second
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.apply(s, r.document("two"), sdk.ActionReload)
	check(t, s.lockFiles(t.Context()))
	defer s.unlockFiles()
	s.change.Lock()
	defer s.change.Unlock()
	want := s.state.Load().desired
	eventually(t, "HAProxy is stable", func() bool { return s.state.Load().isStable(s.stableAfter) })
	next, err := s.newDocument(r.document("three"))
	check(t, err)
	_, err = s.load(t.Context(), next)
	check(t, err)
	if st := s.state.Load(); st.stable != want || st.desired != next {
		t.Error("the document that HAProxy has stayed up with is not recorded")
	}
}

func TestRestart_HAProxyEndsLater(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	s.stableAfter = 300 * time.Millisecond
	lost := lostBy(s)
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.awaitProven(s)
	r.apply(s, r.document("two"), sdk.ActionReload)
	r.awaitProven(s)
	check(t, syscall.Kill(r.running(s).Worker, syscall.SIGSEGV))
	eventually(t, "HAProxy was started again", func() bool {
		return fact(t, s, "haproxy_restarts") == "1" && r.served() == "two"
	})
	wantNothingLost(t, lost)
}

func TestRestart_UnpersistedChangeIsLost(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	words := r.rejectingCheck()
	s := r.sink()
	lost := lostBy(s)
	one := r.lines("server a " + a.address)
	one.Generation = 3
	r.apply(s, one, sdk.ActionRestart)
	check(t, os.WriteFile(words, []byte("server\n"), 0o600))
	r.apply(s, r.lines("server a "+a.address, "server b "+b.address), sdk.ActionRuntime)
	kill(t, r.running(s).Pids[0])
	if l := awaitLost(t, lost); l.Generation != 3 {
		t.Errorf("lost %+v", l)
	}
	eventually(t, "HAProxy serves the previous document", func() bool { return problems(t, s) == "" })
	r.wantAnswers("a")
}

// A failed reload that ends HAProxy restores the document on disk. If that is older than what HAProxy had been changed
// to, the document of that change is lost.
func TestApply_FailedLoadThatEndsHAProxyLosesUnpersistedChange(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	r.useCommands09()
	r.cfg.VerifyCmd = ""
	r.cfg.ReloadCmd = fmt.Sprintf("if grep -q two %s; then kill -9 $(cat %s); exit 0; fi; %s",
		r.cfg.ConfigFile, r.cfg.PidFile, r.cfg.ReloadCmd)
	s := r.sink()
	s.controller.(*process.Command).ResponseTimeout = 5 * time.Second
	lost, events := lostBy(s), eventsOf(s)
	s.commitStage = func(st *stage.Stage) error {
		main := string(st.Files()[0].Content)
		if strings.Contains(main, "server b") && !strings.Contains(main, "two") {
			return syscall.ENOSPC
		}
		return st.Commit()
	}
	with := func(server string) sdk.Document {
		return r.withStatsSocket(edited(r.lines(server), "global", "global\n    daemon"))
	}
	one := with("server a " + a.address)
	one.Generation = 5
	r.apply(s, one, sdk.ActionRestart)
	other := with("server b " + b.address)
	other.Generation = 6
	r.apply(s, other, sdk.ActionRuntime)
	if _, err := s.Apply(t.Context(), edited(one, "X-Is x", "X-Is two")); err == nil {
		t.Error("HAProxy has loaded the document")
	}
	if l := awaitLost(t, lost); l.Generation != 5 {
		t.Errorf("lost %+v", l)
	}
	if got := events.kinds(); got != "restarted" {
		t.Errorf("the events are %q", got)
	} else if started := events.all()[0]; started.Generation != 5 {
		t.Errorf("got %+v", started)
	}
	r.wantAnswers("a")
	r.wantOnDisk(one)
	wantNothingLost(t, lost)
}

// A document that failed to load in another process and loads now does not count as failed.
func TestApply_LoadedDocumentIsNotOneThatFailed(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.Runtime = false
	s := r.sink()
	one := r.document("one")
	one.LoadFailure = "HAProxy did not load it"
	r.apply(s, one, sdk.ActionRestart)
	r.apply(s, edited(one, "server s1", "server s2"), sdk.ActionReload)
}

// Apply was cancelled while the document failed to load: its servers go live all the same.
func TestApply_CancelledWhileADocumentFailsToLoad(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.commitStage = func(st *stage.Stage) error {
		if strings.Contains(string(st.Files()[0].Content), "chroot") {
			cancel()
		}
		return st.Commit()
	}
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	bad := withGlobal(r.lines("server b "+b.address), r.onlyAStartFinds()["chroot"][0])
	if _, err := s.Apply(ctx, bad); !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	r.wantAnswers("b")
}
