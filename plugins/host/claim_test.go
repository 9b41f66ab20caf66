package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// claimedBy returns the id of the process that has claimed, and "" if none has.
func claimedBy(t *testing.T, directory string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(directory, "claimed"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(content)
}

func TestClaim_RepeatedAfterRestart(t *testing.T) {
	sink, directory, _ := startNotes(t, nil)
	if by := claimedBy(t, directory); by != "" {
		t.Errorf("process %s has claimed without being told to", by)
	}
	if err := sink.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := sink.PID()
	if by := claimedBy(t, directory); by != strconv.Itoa(before) {
		t.Errorf("claimed by %q, not by %d", by, before)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	if by := claimedBy(t, directory); by != strconv.Itoa(sink.PID()) || by == strconv.Itoa(before) {
		t.Errorf("claimed by %q, not by %d", by, sink.PID())
	}
}

func TestClaim_Refused(t *testing.T) {
	sink, directory, _ := startNotes(t, nil)
	if err := os.WriteFile(filepath.Join(directory, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sink.Claim(t.Context()); err == nil || err.Error() != "somebody else has it" {
		t.Errorf("got %v", err)
	}
}

// Another process may claim while the plugin is down.
func TestClaim_RefusedAfterRestartIsRetried(t *testing.T) {
	sink, directory, log := startNotes(t, nil)
	if err := sink.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(directory, "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(sink.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal is told", func() bool { return strings.Contains(log.String(), "somebody else has it") })
	if pid := sink.PID(); pid != 0 {
		t.Errorf("process %d serves without a claim", pid)
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
}

func TestClaim_PluginWithoutCapability(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Env: []string{"ECHO_PLUGIN=sink"}, Block: sdk.Block{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if err := sink.Claim(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClaim_PluginDown(t *testing.T) {
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
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if err := sink.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	if by := claimedBy(t, directory); by != strconv.Itoa(sink.PID()) {
		t.Errorf("claimed by %q, not by %d", by, sink.PID())
	}
}

// A second daemon must not start while the claim of the first waits for a slow start.
func TestClaim_WaitsForSlowStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"directory": directory}, Log: slog.New(slog.DiscardHandler), RetryStart: true,
		startWait: time.Nanosecond, claimWait: time.Minute, // every start is a slow one
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	if err := sink.Claim(t.Context()); err == nil || err.Error() != "somebody else has it" {
		t.Errorf("got %v", err)
	}
}

// The wait for a slow start must not delay the rest of the daemon for long.
func TestClaim_WaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &supervisor{opts: Options{}.withDefaults(), firstStart: make(chan struct{})}
		began := time.Now()
		if err := s.awaitFirstStart(t.Context()); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 3*time.Second {
			t.Errorf("it waited for %v", waited)
		}
	})
}

func TestClaim_PluginHangs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, retryStart := range []bool{false, true} {
		t.Run(fmt.Sprintf("retryStart %v", retryStart), func(t *testing.T) {
			directory := t.TempDir()
			sink, err := StartSink(t.Context(), Options{
				Name: "edge", Path: self, Block: sdk.Block{"directory": directory}, RetryStart: retryStart,
				Log: slog.New(slog.DiscardHandler), startWait: time.Minute,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer sink.Close()
			stuck := filepath.Join(directory, "stuck")
			if err := os.WriteFile(stuck, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			err = sink.Claim(ctx)
			if !retryStart {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(stuck); err != nil {
				t.Fatal(err)
			}
			<-sink.Restarted()
			if by := claimedBy(t, directory); by != strconv.Itoa(sink.PID()) {
				t.Errorf("claimed by %q, not by %d", by, sink.PID())
			}
		})
	}
}
