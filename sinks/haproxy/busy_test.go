package haproxy

import (
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// maxSocketConns is how many connections HAProxy accepts on its runtime API by default.
const maxSocketConns = 10

// fill opens as many connections to HAProxy's socket as it accepts, and returns a function that closes them.
func (r *testEnv) fill(path string) (release func()) {
	r.t.Helper()
	var conns []net.Conn
	for range maxSocketConns {
		conn, err := net.Dial("unix", path)
		check(r.t, err)
		conns = append(conns, conn)
		r.t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("prompt\n"))
		check(r.t, err)
	}
	eventually(r.t, "no further connection is served", func() bool { return !answersInfo(path) })
	return func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// answersInfo reports whether HAProxy answers on the socket at once.
func answersInfo(path string) bool {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conn.Write([]byte("show info\n")); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return err == nil && n == 1
}

// openFiles returns how many files a process has open.
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/" + process.JoinPids([]int{pid}) + "/fd")
	check(t, err)
	return len(entries)
}

func (r *testEnv) withStatsSocket(doc sdk.Document) sdk.Document {
	return edited(doc, "global", "global\n    stats timeout 1h\n    stats socket "+r.path("s.sock")+" level admin")
}

// HAProxy serves although as many connections to its socket are open as it accepts.
func TestFullStatsSocket_HealthAndChanges(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		first := r.sink()
		doc := r.withStatsSocket(document("one"))
		r.apply(first, doc, sdk.ActionRestart)
		before := r.running(first)
		r.stop(first)
		release := r.fill(r.path("s.sock"))
		open := openFiles(t, before.Pids[0])

		s := r.sink()
		for range 15 {
			h, err := s.Health(t.Context())
			check(t, err)
			if strings.Contains(strings.Join(h.Problems, ";"), "answer") {
				t.Fatalf("unhealthy: %q", h.Problems)
			}
			r.wantServed("one")
		}
		if r.cfg.byCommand() {
			wantHealthy(t, s)
		}
		if now := openFiles(t, before.Pids[0]); now > open+4 {
			t.Errorf("%d files are open in process %d, %d were", now, before.Pids[0], open)
		}
		result, err := s.Apply(t.Context(), edited(doc, "server s1", "server s2"))
		check(t, err)
		if result.Action != sdk.ActionReload {
			t.Errorf("the action is %s: %s", result.Action, result.Reason)
		}
		if now := r.running(s); !r.cfg.byCommand() && now.Pids[0] != before.Pids[0] {
			t.Errorf("process %v was replaced by %v", before, now)
		}
		r.wantServed("one")
		release()
		eventually(t, "healthy", func() bool { return problems(t, s) == "" })
		r.apply(s, edited(doc, "server s1", "server s3"), sdk.ActionRuntime)
	})
}

// A change over an existing connection does not wait for a free connection: it is made, if need be by a reload.
func TestFullStatsSocket_KeptConnection(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		s := r.sink()
		doc := r.withStatsSocket(document("one"))
		r.apply(s, doc, sdk.ActionRestart)
		r.apply(s, edited(doc, "server s1", "server s2"), sdk.ActionRuntime)
		before := r.running(s).Pids
		r.fill(r.path("s.sock"))
		wantHealthy(t, s)
		_, err := s.Apply(t.Context(), edited(doc, "server s1", "server s3"))
		check(t, err)
		if now := r.running(s).Pids; !r.cfg.byCommand() && !slices.Equal(now, before) {
			t.Errorf("process %v was replaced by %v", before, now)
		}
		r.wantServed("one")
	})
}

func TestFullMasterSocket(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	before := r.running(s)
	release := r.fill(r.path("haproxy.master.sock"))
	for range 15 {
		wantHealthy(t, s)
		r.wantServed("one")
	}
	s.controller.(*process.Managed).ResponseTimeout = time.Second
	_, err := s.Apply(t.Context(), r.document("two")) // needs the master
	wantError(t, err, r.path("haproxy.master.sock"))
	r.stop(s)

	next := r.sink()
	next.controller.(*process.Managed).ResponseTimeout = time.Second
	h, err := next.Health(t.Context())
	check(t, err)
	if strings.Contains(strings.Join(h.Problems, ";"), "answer") || h.Facts["master_socket"] == "" {
		t.Errorf("problems %q, facts %v", h.Problems, h.Facts)
	}
	_, err = next.Apply(t.Context(), r.document("two"))
	wantError(t, err, r.path("haproxy.master.sock"))
	release()
	r.apply(next, r.document("two"), sdk.ActionReload)
	if now := r.running(next); now.Pids[0] != before.Pids[0] {
		t.Errorf("process %v was replaced by %v", before, now)
	}
	wantHealthy(t, next)
}

// A stopped process is unhealthy, unlike one that only has too many connections on its socket.
func TestHealth_StoppedWorker(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	now := r.running(s)
	check(t, syscall.Kill(now.Worker, syscall.SIGSTOP))
	open := openFiles(t, now.Pids[0])
	for range 4 {
		if problems(t, s) == "" {
			t.Error("healthy")
		}
	}
	if more := openFiles(t, now.Pids[0]) - open; more > 4 {
		t.Errorf("the checks have left %d files open in the master", more)
	}
	check(t, syscall.Kill(now.Worker, syscall.SIGCONT))
	eventually(t, "healthy", func() bool { return problems(t, s) == "" })
}
