package systemd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDaemon is a Reporter.
type fakeDaemon struct {
	mu       sync.Mutex
	notReady []string
	status   server.Status
	locked   chan struct{} // Status returns when it is closed; nil for at once
	slow     time.Duration // how long Status takes
}

func (f *fakeDaemon) NotReady() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notReady
}

func (f *fakeDaemon) Status(context.Context) server.Status {
	f.mu.Lock()
	locked, slow, status := f.locked, f.slow, f.status
	f.mu.Unlock()
	if locked != nil {
		<-locked
	}
	time.Sleep(slow)
	return status
}

func (f *fakeDaemon) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// received are the lines that a notifier has sent.
type received struct {
	mu    sync.Mutex
	lines []string
	err   error
}

func (r *received) send(message string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.Split(strings.TrimSpace(message), "\n")...)
	return r.err
}

// take returns the lines since the last call, without those that begin with the prefix.
func (r *received) take(without string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := slices.DeleteFunc(r.lines, func(line string) bool { return without != "" && strings.HasPrefix(line, without) })
	r.lines = nil
	return lines
}

// start runs a notifier for the daemon in a synctest bubble.
func start(t *testing.T, d *fakeDaemon, watchdog time.Duration) (*Notifier, *received) {
	t.Helper()
	got := &received{}
	n := &Notifier{send: got.send, watchdog: watchdog, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx, d) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return n, got
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestRun_ReportsReadinessAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{notReady: []string{"pipeline edge has not applied a configuration yet"}, status: server.Status{
			State: server.StateDegraded, Sources: []server.Source{{Name: "sidecar"}},
			Pipelines: []server.Pipeline{{Name: "edge", Source: "sidecar"}},
		}}
		_, got := start(t, d, 0)
		time.Sleep(time.Minute)
		wantLines(t, got.take(""), "STATUS=waiting for the first snapshot of sidecar")

		d.change(func() {
			d.notReady = nil
			d.status = server.Status{State: server.StateHealthy,
				Sources:   []server.Source{{Name: "sidecar", Services: 12, Instances: server.Instances{Alive: 40}}},
				Pipelines: []server.Pipeline{{Name: "edge", Source: "sidecar", Generation: 1}}}
		})
		time.Sleep(readyInterval)
		synctest.Wait()
		wantLines(t, got.take(""), "READY=1", "STATUS=healthy: 12 services, 40 instances")

		d.change(func() {
			d.notReady = []string{"pipeline other has not applied a configuration yet"}
			d.status.State = server.StateUnhealthy
			d.status.Pipelines[0].Reasons = []server.Reason{
				{State: server.StateDegraded, Message: "the newest snapshot is held"},
				{State: server.StateUnhealthy, Message: "edge.tmpl:3:1: unexpected end"},
			}
		})
		time.Sleep(statusInterval)
		synctest.Wait()
		wantLines(t, got.take(""), "STATUS=unhealthy: edge.tmpl:3:1: unexpected end")
	})
}

func TestRun_PingsTheWatchdogAtHalfOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{status: server.Status{State: server.StateHealthy}}
		_, got := start(t, d, 4*time.Second)
		synctest.Wait()
		got.take("")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if pings := got.take("STATUS"); len(pings) != 10 || pings[0] != "WATCHDOG=1" {
			t.Errorf("pings within 20 s: %q", pings)
		}
	})
}

func TestRun_PingsWhileASinkIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{status: server.Status{State: server.StateHealthy}, slow: 2 * time.Second}
		_, got := start(t, d, 4*time.Second)
		time.Sleep(time.Minute)
		if pings := got.take("STATUS"); len(pings) < 29 {
			t.Errorf("pings within a minute: %q", pings)
		}
	})
}

func TestRun_StopsPingingAfterADeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{status: server.Status{State: server.StateHealthy}}
		_, got := start(t, d, 4*time.Second)
		time.Sleep(10 * time.Second)
		locked := make(chan struct{})
		d.change(func() { d.locked = locked })
		time.Sleep(4 * time.Second)
		got.take("")
		time.Sleep(time.Hour)
		wantLines(t, got.take(""))
		close(locked)
	})
}

func TestReloading_IsReportedOnlyWhenReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDaemon{notReady: []string{"pipeline edge"}, status: server.Status{State: server.StateHealthy}}
		n, got := start(t, d, 0)
		synctest.Wait()
		got.take("")
		n.Reloading()
		n.Reloaded()
		wantLines(t, got.take(""))

		d.change(func() { d.notReady = nil })
		time.Sleep(readyInterval)
		synctest.Wait()
		wantLines(t, got.take(""), "READY=1")
		n.Reloading()
		lines := got.take("")
		if len(lines) != 2 || lines[0] != "RELOADING=1" || !strings.HasPrefix(lines[1], "MONOTONIC_USEC=") {
			t.Errorf("sent %q", lines)
		}
		n.Reloaded()
		n.Stopping()
		wantLines(t, got.take(""), "READY=1", "STOPPING=1", "STATUS=stopping")
	})
}

func TestFailed_ReportsTheCause(t *testing.T) {
	got := &received{}
	n := &Notifier{send: got.send, log: slog.New(slog.DiscardHandler)}
	n.Failed(errors.New("haproxy-api.toml: haproxy.bind_pi is not a known key\n\thaproxy.pid_file is missing"))
	lines := got.take("")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "STATUS=failed: haproxy-api.toml: haproxy.bind_pi is not a known key") {
		t.Errorf("sent %q", lines)
	}
}

func TestNotifier_WithoutServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := FromEnvironment(slog.New(slog.DiscardHandler))
	if n != nil {
		t.Fatal("there is a notifier")
	}
	n.Run(t.Context(), &fakeDaemon{})
	n.Reloading()
	n.Reloaded()
	n.Stopping()
}

// TestFromEnvironment sends to a socket as systemd does it, and keeps the variables from child processes.
func TestFromEnvironment(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@haproxy-api-" + filepath.Base(t.TempDir())} {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		t.Setenv("NOTIFY_SOCKET", name)
		t.Setenv("WATCHDOG_USEC", "30000000")
		t.Setenv("WATCHDOG_PID", "")
		n := FromEnvironment(slog.New(slog.DiscardHandler))
		for _, variable := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
			if value, set := os.LookupEnv(variable); set {
				t.Errorf("%s is still %q", variable, value)
			}
		}
		if n.watchdog != 30*time.Second {
			t.Errorf("watchdog %v", n.watchdog)
		}
		n.report(server.Status{State: server.StateHealthy}, true)
		message := make([]byte, 1000)
		length, err := conn.Read(message)
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, strings.Split(string(message[:length]), "\n"),
			"READY=1", "STATUS=healthy: 0 services, 0 instances", "WATCHDOG=1")
	}
}

func TestNotifier_LogsThatTheServiceManagerIsGone(t *testing.T) {
	var log strings.Builder
	got := &received{err: errors.New("connection refused")}
	n := &Notifier{send: got.send, log: slog.New(slog.NewTextHandler(&log, nil))}
	n.report(server.Status{State: server.StateHealthy}, true)
	n.report(server.Status{State: server.StateHealthy}, true)
	if count := strings.Count(log.String(), "connection refused"); count != 1 {
		t.Errorf("logged %d times:\n%s", count, log.String())
	}
	got.err = nil
	n.report(server.Status{State: server.StateHealthy}, true)
	if !strings.Contains(log.String(), "service manager notified again") {
		t.Errorf("the end is not logged:\n%s", log.String())
	}
}

// A service whose readiness got lost would start for ever.
func TestNotifier_RepeatsWhatWasNotSent(t *testing.T) {
	got := &received{err: errors.New("connection refused")}
	n := &Notifier{send: got.send, log: slog.New(slog.DiscardHandler)}
	healthy := server.Status{State: server.StateHealthy}
	n.report(healthy, true)
	got.take("")
	got.err = nil
	n.report(healthy, true)
	wantLines(t, got.take(""), "READY=1", "STATUS=healthy: 0 services, 0 instances")

	n.Reloading()
	got.err = errors.New("connection refused")
	n.Reloaded()
	got.take("")
	got.err = nil
	n.report(healthy, true)
	wantLines(t, got.take(""), "READY=1")
}

func TestStopping_IsFollowedOnlyByAFailure(t *testing.T) {
	got := &received{}
	n := &Notifier{send: got.send, log: slog.New(slog.DiscardHandler), ready: true}
	n.Stopping()
	got.take("")
	n.Reloaded()
	n.report(server.Status{State: server.StateHealthy}, true)
	wantLines(t, got.take(""))
	n.Failed(errors.New("the server failed"))
	wantLines(t, got.take(""), "STATUS=failed: the server failed")
}

// The shutdown must not wait for a service manager that reads nothing.
func TestStopping_OfAServiceManagerThatHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	n := FromEnvironment(slog.New(slog.DiscardHandler))
	for n.send("STATUS=x") == nil { // until the socket is full
	}
	n.Stopping()
}

func TestDescribe(t *testing.T) {
	long := strings.Repeat("x", 1000)
	pipeline := func(name, message string) server.Pipeline {
		return server.Pipeline{Name: name, Source: "s", Generation: 1,
			Reasons: []server.Reason{{State: server.StateUnhealthy, Message: message}}}
	}
	unhealthy := func(pipelines ...server.Pipeline) server.Status {
		return server.Status{State: server.StateUnhealthy, Pipelines: pipelines}
	}
	tests := []struct {
		name   string
		status server.Status
		want   string
	}{
		{"one of each", server.Status{State: "healthy", Sources: []server.Source{{Services: 1,
			Instances: server.Instances{Alive: 1}}}}, "healthy: 1 service, 1 instance"},
		{"the daemon's own reason", server.Status{State: "degraded", Reasons: []server.Reason{{State: "degraded",
			Message: "unknown key"}}}, "degraded: unknown key"},
		{"one of several pipelines", unhealthy(pipeline("a", "bad"), pipeline("b", "worse")), "unhealthy: pipeline a: bad"},
		{"a message that adds lines", unhealthy(pipeline("a", "x\nMAINPID=1")), `unhealthy: x\nMAINPID=1`},
		{"a secret", unhealthy(pipeline("a", "http://user:secret@host/ failed")), "unhealthy: http://***@host/ failed"},
		{"a long message", unhealthy(pipeline("a", long)), "unhealthy: " + long[:188] + "…"},
		{"the snapshot came, the document failed", server.Status{State: "unhealthy", Sources: []server.Source{{Name: "s",
			LastSnapshot: &time.Time{}}}, Pipelines: []server.Pipeline{{Source: "s", Reasons: []server.Reason{{
			State: "unhealthy", Message: "port in use"}}}}}, "unhealthy: port in use"},
		{"the snapshot of an earlier run is in use, the document failed", server.Status{State: "unhealthy",
			Sources: []server.Source{{Name: "s", Services: 1}}, Pipelines: []server.Pipeline{{Source: "s", Reasons: []server.Reason{{
				State: "unhealthy", Message: "HAProxy is not installed"}}}}}, "unhealthy: HAProxy is not installed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := describe(test.status); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
