package host

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func startWithMark(t *testing.T, mark string, retryStart bool) (*Sink, string, *logBuffer, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), mark)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	buffer := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"directory": filepath.Dir(path)}, RetryStart: retryStart,
		Log: slog.New(slog.NewTextHandler(buffer, nil)), startWait: time.Minute,
	})
	if err == nil {
		t.Cleanup(func() { _ = sink.Close() })
	}
	return sink, path, buffer, err
}

func TestStart_TemporaryErrorAndFault(t *testing.T) {
	if _, _, _, err := startWithMark(t, "down", false); err == nil {
		t.Error("it starts")
	} else if _, ok := errors.AsType[*StartError](err); !ok {
		t.Errorf("a backend that is down is a %T: %v", err, err)
	}
	for _, retryStart := range []bool{false, true} {
		_, _, _, err := startWithMark(t, "wrong", retryStart)
		if faults, ok := errors.AsType[sdk.Faults](err); !ok || len(faults) != 1 {
			t.Errorf("a rejected configuration is a %T: %v", err, err)
		}
	}
}

func TestRetryStart_TemporaryError(t *testing.T) {
	sink, path, buffer, err := startWithMark(t, "down", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Apply(t.Context(), document("text")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	health, err := sink.Health(t.Context())
	if err != nil || health.OK() || !strings.Contains(health.Problems[0], "connection refused") {
		t.Errorf("health %+v, %v", health, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
	said := buffer.String()
	if told := strings.Count(said, "does not start"); told != 1 || !strings.Contains(said, "plugin started") {
		t.Errorf("told %d times that it does not start: %s", told, said)
	}
}

// The error of the first restart that fails is logged.
func TestRestart_FirstFailureIsLogged(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	path := filepath.Join(directory, "plugin")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	buffer := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: path, Block: sdk.Block{"directory": directory}, Log: slog.New(slog.NewTextHandler(buffer, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	// The program fails once and hangs the next time.
	script := "#!/bin/sh\n[ -e " + directory + "/again ] && exec sleep 1000\n: > " + directory + "/again\necho why >&2\nexit 42\n"
	if err := errors.Join(os.WriteFile(path+".new", []byte(script), 0o755), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(sink.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(buffer.String(), "exit status 42): why") })
}

// Everything that a plugin writes arrives in the log, however the plugin ends.
func TestLog_EveryStream(t *testing.T) {
	for content, want := range map[string][]string{
		"print": {
			`level=INFO msg="on standard error"`, `level=INFO msg="on standard output"`, "by package log",
			`level=INFO msg="on file 1"`,
		},
		"panic":                 {`msg="a moment before"`, `level=ERROR msg="panic: all is lost"`, `level=ERROR msg="goroutine `},
		"concurrent map writes": {`level=ERROR msg="fatal error: concurrent map`},
	} {
		t.Run(content, func(t *testing.T) {
			sink, _, buffer := startNotes(t, nil)
			_, _ = sink.Apply(t.Context(), document(content))
			for _, line := range want {
				eventually(t, line, func() bool { return strings.Contains(buffer.String(), line) })
			}
		})
	}
}
