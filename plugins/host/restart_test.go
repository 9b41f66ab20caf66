package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// halt stops a process and waits until all its threads have stopped.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process stands still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if err != nil || !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return len(threads) > 0
	})
}

func TestRestart_HangingPlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"directory": t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		pingInterval: 20 * time.Millisecond, pingTimeout: 5 * time.Second, // a plugin on a busy machine must not seem to hang
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	before := pidOf(t, sink)
	halt(t, before)
	<-sink.Restarted()
	if err := syscall.Kill(before, 0); err == nil {
		t.Errorf("process %d is still there", before)
	}
	if after := pidOf(t, sink); after == before {
		t.Errorf("still process %d", after)
	}
}

func TestStop_HangingPlugin(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	pid := pidOf(t, sink)
	halt(t, pid)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := sink.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

func TestRetryStart_FailingStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: path, Block: sdk.Block{"directory": directory}, Log: slog.New(slog.DiscardHandler), RetryStart: true,
		startWait: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if _, err := sink.Apply(t.Context(), document("text")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if health, err := sink.Health(t.Context()); err != nil || health.OK() ||
		!strings.Contains(health.Facts["plugin_last_end"], "did not start") {
		t.Errorf("health %+v, %v", health, err)
	}
	if err := os.Symlink(self, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
}

// hangingProgram returns the path of a program that never writes a handshake.
func hangingProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStart_HangingProgram(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := StartSink(ctx, Options{Name: "edge", Path: hangingProgram(t), Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRetryStart_HangingProgram(t *testing.T) {
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: hangingProgram(t), Log: slog.New(slog.DiscardHandler), RetryStart: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Apply(t.Context(), document("text")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if err := sink.Stop(t.Context()); !errors.Is(err, errNotRunning) { // else the test's own time limit ends it
		t.Errorf("got %v", err)
	}
}

func TestDetach_RemovesSocket(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	sink, _, _ := startNotes(t, nil)
	p := sink.stopSupervising() // the daemon, which would remove the socket too, takes no part from here on
	defer p.terminate()
	p.detach()
	<-p.program.exited
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRestart_PluginOutOfMemory(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	if _, err := sink.Apply(t.Context(), document("leak")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	<-sink.Restarted()
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
}

func TestRestart_KilledPlugin(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	before := pidOf(t, sink)
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	if after := pidOf(t, sink); after == before {
		t.Errorf("still process %d", after)
	}
	health, err := sink.Health(t.Context())
	if end := health.Facts["plugin_last_end"]; err != nil || health.Facts["plugin_restarts"] != "1" ||
		!strings.HasPrefix(end, "signal: killed at ") || health.Facts["plugin"] != "notes 1.2" {
		t.Errorf("health does not tell of the death: %+v, %v", health, err)
	}
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
	if _, err := sink.Apply(t.Context(), document("die")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	<-sink.Restarted()
}

func TestDetach_EndsPlugin(t *testing.T) {
	sink, directory, _ := startNotes(t, nil)
	pid := pidOf(t, sink)
	p, err := sink.currentProcess()
	if err != nil {
		t.Fatal(err)
	}
	p.detach() // what the plugin sees when the daemon is killed
	eventually(t, "the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	if _, err := os.Stat(filepath.Join(directory, "stopped")); err == nil {
		t.Error("the plugin took the daemon's death for an orderly end")
	}
}

// The error of a slow start is logged after the daemon has gone on without the plugin.
func TestRetryStart_SlowFailureIsLogged(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "plugin")
	script := "#!/bin/sh\n[ -e " + directory + "/again ] && exec sleep 1000\n: > " + directory + "/again\nexit 42\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	log := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: path, Log: slog.New(slog.NewTextHandler(log, nil)), RetryStart: true,
		startWait: time.Nanosecond, // every start is a slow one
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	eventually(t, "the end of the first start is told", func() bool { return strings.Contains(log.String(), "exit status 42") })
}

func TestRestart_LogsAPluginThatKeepsEndingOnce(t *testing.T) {
	sink, _, log := startNotes(t, nil)
	const ends = 4
	for range ends {
		if _, err := sink.Apply(t.Context(), document("die")); !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
		<-sink.Restarted()
	}
	if sink.PID() == 0 {
		t.Error("the plugin does not run")
	}
	for message, want := range map[string]int{
		"plugin started": 2, "plugin ended, restarting": 1, "plugin keeps ending": 1, "plugin keeps running": 0,
	} {
		if got := strings.Count(log.String(), message); got != want {
			t.Errorf("%d lines with %q, want %d:\n%s", got, message, want, log)
		}
	}
}
