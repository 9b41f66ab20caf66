package haproxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

func TestSupervisor_RestartsKilledHAProxy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		more   string
		victim func(process.Instance) int
	}{
		{"master", "", func(now process.Instance) int { return now.Pids[0] }},
		{"worker", "", func(now process.Instance) int { return now.Worker }},
		{
			"worker with no-exit-on-failure", "global\n    master-worker no-exit-on-failure",
			func(now process.Instance) int { return now.Worker },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			s := r.sink()
			doc := r.document("one", test.more)
			r.apply(s, doc, sdk.ActionRestart)
			before := r.running(s)
			kill(t, test.victim(before))
			r.awaitOther(s, before)
			r.wantServed("one")
			wantHealthy(t, s)
			r.apply(s, doc, sdk.ActionUnchanged)
		})
	}
}

// awaitOther waits until the supervisor has started another HAProxy than before.
func (r *testEnv) awaitOther(s *Sink, before process.Instance) {
	r.t.Helper()
	eventually(r.t, "another HAProxy serves", func() bool {
		st := s.state.Load()
		return !st.running.None() && !st.running.Same(before) && st.loadingFor() == 0
	})
}

func TestHealth_DeadHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	s.change.Lock() // keeps the watch from starting it again
	kill(t, r.running(s).Pids[0])
	eventually(t, "Health reports it", func() bool {
		return strings.Contains(problems(t, s), "not running") && fact(t, s, "haproxy_up") == "0" &&
			fact(t, s, "restarting") == "yes"
	})
	s.change.Unlock()
	eventually(t, "Health reports no problem", func() bool { return problems(t, s) == "" })
	eventually(t, "the start is completed", func() bool {
		return fact(t, s, "haproxy_up") == "1" && fact(t, s, "restarting") == ""
	})
	r.wantServed("one")
}

func TestSupervisor_DoesNotLoadEditedFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	check(t, os.WriteFile(r.cfg.ConfigFile, []byte("not a configuration\n"), 0o644))
	before := r.running(s)
	kill(t, before.Pids[0])
	r.awaitOther(s, before)
	r.wantServed("one")
	r.wantOnDisk(one)
}

func TestStop_OnExit(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	now := r.running(s)
	r.stop(s)
	r.wantServed("one")

	r.cfg.OnExit = OnExitStop
	onlyChecks := r.sink()
	check(t, onlyChecks.Check(t.Context(), r.document("two")))
	r.stop(onlyChecks)
	r.wantServed("one")

	s = r.sink()
	wantHealthy(t, s)
	r.stop(s)
	r.stop(s)
	if procinfo.Exists(now.Pids[0]) || procinfo.Exists(now.Worker) {
		t.Error("HAProxy still runs")
	}
	for _, name := range []string{"haproxy.pid", "haproxy.master.sock", "haproxy.cfg.applied"} {
		if _, err := os.Lstat(r.path(name)); err == nil {
			t.Errorf("%s still exists", name)
		}
	}
}

// A client that keeps its connection may use it until drain_timeout, or until shortly before the context ends.
func TestStop_OpenConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		drain time.Duration
		limit time.Duration
	}{
		{"drain_timeout", 100 * time.Millisecond, time.Hour},
		{"context", time.Hour, 1200 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			r.cfg.DrainTimeout, r.cfg.OnExit = test.drain, OnExitStop
			s := r.sink()
			r.apply(s, r.document("one"), sdk.ActionRestart)
			now := r.running(s)
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
			check(t, err)
			defer func() { _ = conn.Close() }()
			_, err = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow:")
			check(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), test.limit)
			defer cancel()
			check(t, s.Stop(ctx))
			if procinfo.Exists(now.Pids[0]) || procinfo.Exists(now.Worker) {
				t.Error("HAProxy still runs")
			}
		})
	}
}

// A HAProxy that ends soon after each start has a line when it first ends, one when it keeps ending, and one when it stays up.
func TestSupervisor_LogsACrashLoopOnce(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	var lines logLines
	s := r.sink()
	s.log = slog.New(slog.NewTextHandler(&lines, nil))
	r.apply(s, r.document("one"), sdk.ActionRestart)
	for range 4 {
		before := r.running(s)
		kill(t, before.Pids[0])
		r.awaitOther(s, before)
	}
	eventually(t, "HAProxy counts as stable", func() bool { return lines.count("HAProxy stays up again") == 1 })
	for message, want := range map[string]int{
		"HAProxy ended; starting it again": 1, "HAProxy serves again": 1, "HAProxy keeps ending": 1, "level=ERROR": 1,
	} {
		if got := lines.count(message); got != want {
			t.Errorf("%d lines with %q, want %d:\n%s", got, message, want, &lines)
		}
	}
}

// logLines is a log that can be read while it is written.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(line)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logLines) count(text string) int { return strings.Count(l.String(), text) }
