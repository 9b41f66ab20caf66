package haproxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// With a long drain_timeout and many reloads, the oldest workers beyond max_old_workers are ended. Those that a command of the
// user's has started are only counted.
func TestOldWorkers_MoreThanAllowed(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		const reloads, allowed = 5, 2
		r.cfg.DrainTimeout, r.cfg.MaxOldWorkers = time.Hour, allowed
		a := r.named("a")
		defer close(a.open)
		s := r.sink()
		s.observeEvery = pollInterval
		// The requests must not end by themselves.
		doc := edited(edited(document("one"), "server s1 "+r.backend, "server s1 "+a.address), "10s", "10m")
		r.apply(s, doc, sdk.ActionRestart)
		var workers []int
		for i := range reloads {
			r.slowly()
			<-a.asked
			workers = append(workers, r.running(s).Pid())
			r.apply(s, edited(doc, "maxconn 100", fmt.Sprintf("maxconn %d", 200+i)), sdk.ActionReload)
		}
		kept := workers[reloads-allowed:]
		if r.cfg.ReloadCmd != "" {
			kept = workers
		}
		eventually(t, "max_old_workers old workers run", func() bool {
			h, err := s.Health(t.Context())
			check(t, err)
			ended, _ := strconv.Atoi(h.Facts["old_workers_ended"])
			told := strings.Fields(h.Facts["old_workers"])
			if count := h.Facts["old_workers_count"]; count != strconv.Itoa(len(told)) {
				t.Errorf("%s old workers are counted of %v", count, told)
			}
			return len(told) == len(kept) && ended == reloads-len(kept) && !slices.ContainsFunc(kept, func(pid int) bool {
				return !slices.Contains(told, strconv.Itoa(pid))
			})
		})
		there := slices.DeleteFunc(slices.Clone(workers), func(pid int) bool { return !procinfo.Exists(pid) })
		if !slices.Equal(there, kept) {
			t.Errorf("of the workers %v, %v run", workers, there)
		}
		wantHealthy(t, s)
		r.wantServed("one")
	})
}

// An old worker is not taken for the worker that serves when that one ends after a failed reload, from HAProxy 3.1 on without its
// master.
func TestOldWorkers_WorkerEndsAfterFailedReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.DrainTimeout = time.Hour
	a := r.named("a")
	defer close(a.open)
	s := r.sink()
	doc := edited(r.lines("server a "+a.address), "10s", "10m") // the request must not end by itself
	r.apply(s, doc, sdk.ActionRestart)
	r.slowly()
	<-a.asked
	doc = edited(doc, "maxconn 100", "maxconn 200")
	r.apply(s, doc, sdk.ActionReload)
	if _, err := s.Apply(t.Context(), withGlobal(doc, r.onlyAStartFinds()["lua"][0])); !isNotLoaded(err) {
		t.Errorf("got %v", err)
	}
	before := r.running(s)
	kill(t, before.Worker)
	r.awaitOther(s, before)
	r.wantAnswers("a")
	wantHealthy(t, s)
}

// hangSink returns a sink that soon replaces a HAProxy that hangs.
func (r *testEnv) hangSink() *Sink {
	s := r.sink()
	s.observeEvery, s.hangAfter = pollInterval, 100*time.Millisecond
	return s
}

// A process that accepts no connections is replaced although no document changes, and does not take connections from its
// successor.
func TestHang_HAProxyIsReplaced(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeManaged, ModeCommand} {
		t.Run(mode, func(t *testing.T) {
			r := newTestEnv(t)
			r.cfg.Mode = mode
			s := r.hangSink()
			r.apply(s, r.document("one"), sdk.ActionRestart)
			before := r.running(s)
			check(t, syscall.Kill(before.Pid(), syscall.SIGSTOP))
			eventually(t, "unhealthy", func() bool { return problems(t, s) != "" })
			r.awaitOther(s, before)
			eventually(t, "the process that hung has ended", func() bool { return !procinfo.Exists(before.Pid()) })
			// The last of its threads to end may keep its sockets open for a moment more.
			eventually(t, "no connection is lost", func() bool {
				for range 10 {
					if r.served() != "one" {
						return false
					}
				}
				return true
			})
			wantHealthyEventually(t, s)
			r.apply(s, r.document("one"), sdk.ActionUnchanged)
		})
	}
}

// A process that the user's command has started is replaced by that command, and not ended.
func TestHang_OfReloadCommand(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useCommands09()
	s := r.hangSink()
	r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
	before := r.running(s)
	check(t, syscall.Kill(before.Pid(), syscall.SIGSTOP))
	eventually(t, "unhealthy", func() bool { return problems(t, s) != "" })
	r.awaitOther(s, before)
	if !procinfo.Exists(before.Pid()) {
		t.Error("the process was ended")
	}
}

// Another program has told the worker to stop, and it still has a connection.
func TestHang_NoLongerListens(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a := r.named("a")
	s := r.hangSink()
	doc := edited(edited(r.document("one"), "server s1 "+r.backend, "server s1 "+a.address), "10s", "10m")
	r.apply(s, doc, sdk.ActionRestart)
	answer := r.slowly()
	<-a.asked
	before := r.running(s)
	check(t, syscall.Kill(before.Worker, syscall.SIGUSR1))
	r.awaitOther(s, before)
	r.wantServed("one")
	close(a.open)
	if got := answer(); got != "a" {
		t.Errorf("the request to the stopping worker was answered with %q", got)
	}
}

// A HAProxy that only accepts no more connections on its runtime API, or is busy for a while, is not replaced.
func TestHang_BusyHAProxyIsNotReplaced(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		s := r.hangSink()
		r.apply(s, r.withStatsSocket(document("one")), sdk.ActionRestart)
		before := r.running(s)
		r.loop(300 * time.Millisecond)
		release := r.fill(r.path("s.sock"))
		began, first := time.Now(), s.observations.Load()
		eventually(t, "HAProxy was checked", func() bool {
			return time.Since(began) > 3*s.hangAfter && s.observations.Load() > first+3
		})
		release()
		if now := r.running(s); !now.Same(before) {
			t.Errorf("HAProxy was replaced: %v after %v", before, now)
		}
		r.wantServed("one")
	})
}

// loop keeps a thread of HAProxy busy for that time.
func (r *testEnv) loop(d time.Duration) {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path("s.sock"))
	check(r.t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "expert-mode on; debug dev loop %d\n", d.Milliseconds())
	check(r.t, err)
	_, _ = conn.Read(make([]byte, 1)) // until it is over, or the process is
}

// HAProxy's own watchdog ends a worker that loops, and the supervisor restarts HAProxy.
func TestHang_LoopingHAProxyIsRestarted(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.withStatsSocket(r.document("one")), sdk.ActionRestart)
	before := r.running(s)
	r.loop(time.Hour)
	r.awaitOther(s, before)
	r.wantServed("one")
	wantHealthyEventually(t, s)
}

// startBesideStopped starts a HAProxy with the options beside that of the sink, and stops its process that serves.
func (r *testEnv) startBesideStopped(options ...string) (pids []int) {
	r.t.Helper()
	pid := r.startBeside(r.cfg.Binary, r.cfg.ConfigFile, options...)
	pids = append([]int{pid}, childrenOf(pid)...)
	check(r.t, syscall.Kill(pids[len(pids)-1], syscall.SIGSTOP))
	return pids
}

// The workers of a HAProxy that another program has started with the same configuration file are not ended.
func TestOldWorkers_OfAnotherHAProxy(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeManaged, ModeCommand} {
		for name, options := range map[string][]string{"alone": nil, "with a master": {"-W"}} {
			t.Run(mode+" "+name, func(t *testing.T) {
				r := newTestEnv(t)
				r.cfg.Mode = mode
				s := r.sink()
				r.apply(s, r.document("one"), sdk.ActionRestart)
				pids := r.startBesideStopped(options...)
				now := r.running(s)
				if old := s.paths.OldWorkers(now); len(old) > 0 {
					t.Errorf("of the other HAProxy's processes %v the old workers are %v", pids, old)
				}
				check(t, s.lockFiles(t.Context()))
				s.endOldWorkers(now)
				s.files.Release(1)
				if ended := fact(t, s, "old_workers_ended"); ended != "" && ended != "0" {
					t.Errorf("%s were ended", ended)
				}
				for _, pid := range pids {
					check(t, syscall.Kill(pid, syscall.SIGCONT))
				}
				r.apply(s, r.document("two"), sdk.ActionReload)
			})
		}
	}
}
