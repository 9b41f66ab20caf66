// Package sinknode_test runs the Node plugin with package host. The plugin itself needs no Go.
package sinknode_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/sdktest"
)

const (
	program = "./haproxy-api-sink-node"
	// daemonDirectory is an environment variable that makes this binary a daemon that publishes to that directory.
	daemonDirectory = "SINK_NODE_DAEMON_DIRECTORY"
)

func TestMain(m *testing.M) {
	if directory := os.Getenv(daemonDirectory); directory != "" {
		daemon(directory)
		return
	}
	if err := install(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// install installs the dependencies of the plugin with npm, if they are missing. The file is the last one that npm writes.
func install() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("these tests run a Node program: install Node 20 or newer: %w", err)
	}
	if _, err := os.Stat("node_modules/.package-lock.json"); err == nil {
		return nil
	}
	if out, err := exec.Command("npm", "ci").CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

// daemon runs the plugin until the daemon is killed.
func daemon(directory string) {
	sink, err := host.StartSink(context.Background(), options(sdk.Block{"directory": directory}, slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sink.PID())
	select {}
}

func options(block sdk.Block, log slog.Handler) host.Options {
	return host.Options{Name: "pages", Path: program, Block: block, Log: slog.New(log)}
}

func start(t *testing.T, block sdk.Block, log slog.Handler) *host.Sink {
	t.Helper()
	sink, err := host.StartSink(t.Context(), options(block, log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink
}

func document(content []byte) sdk.Document {
	files := []sdk.File{{Name: "main", Content: content}, {Name: "routes.map", Content: []byte{0, 255}}}
	return sdk.Document{Pipeline: "p", Generation: 1 << 60, Digest: sdk.DigestOf(files), Files: files}
}

func apply(t *testing.T, sink *host.Sink, content []byte, want string) {
	t.Helper()
	if result, err := sink.Apply(t.Context(), document(content)); err != nil || result.Action != want {
		t.Fatalf("got %+v, %v; want %s", result, err, want)
	}
}

func expectCurrent(t *testing.T, directory string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(directory, "current", "main"))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("current has %d bytes, %.20q…, %v; want %d bytes, %.20q…", len(got), got, err, len(want), want)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// gone reports whether the process has ended. A zombie has ended too.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

func TestConformance(t *testing.T) {
	sdktest.TestSink(t, sdktest.Sink{
		Program: sdktest.Program{Path: program, Block: sdk.Block{"directory": t.TempDir()}},
		Bad:     " \n",
	})
}

func TestProtocolIsCurrent(t *testing.T) {
	original, err := os.ReadFile("../../plugins/internal/wire/plugin.proto")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile("proto/plugin.proto")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(original, copied) {
		t.Error("proto/plugin.proto is not plugins/internal/wire/plugin.proto any more: copy it again")
	}
}

func TestApply(t *testing.T) {
	directory := t.TempDir()
	var log logBuffer
	sink := start(t, sdk.Block{"directory": directory, "keep": 2}, slog.NewTextHandler(&log, nil))
	if want := (sdk.Info{Name: "node", Version: "1.0.0"}); sink.Info() != want {
		t.Errorf("got %+v, want %+v", sink.Info(), want)
	}
	apply(t, sink, []byte("one"), sdk.ActionWritten)
	apply(t, sink, []byte("one"), sdk.ActionUnchanged)
	for _, content := range []string{"", " \n"} {
		if _, err := sink.Apply(t.Context(), document([]byte(content))); !errors.Is(err, sdk.ErrRejected) {
			t.Errorf("%q: got %v", content, err)
		}
		if err := sink.Check(t.Context(), document([]byte(content))); !errors.Is(err, sdk.ErrRejected) {
			t.Errorf("%q: got %v", content, err)
		}
	}
	expectCurrent(t, directory, []byte("one"))

	large := bytes.Repeat([]byte("0123456789abcde\n"), 64<<20/16)
	apply(t, sink, large, sdk.ActionWritten)
	apply(t, sink, large, sdk.ActionUnchanged)
	expectCurrent(t, directory, large)
	if err := sink.Check(t.Context(), document(large)); err != nil {
		t.Error(err)
	}
	health, err := sink.Health(t.Context())
	if err != nil || !health.OK() || health.Facts["versions"] != "2" {
		t.Errorf("got %+v, %v", health, err)
	}
	eventually(t, "the plugin's log arrives", func() bool {
		return strings.Contains(log.String(), "level=INFO msg=published files=2 version=000001-")
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := host.StartSink(t.Context(), options(sdk.Block{"directry": "x", "keep": 0}, slog.DiscardHandler))
	faults, ok := errors.AsType[sdk.Faults](err)
	if want := "directry is not a known key; did you mean directory?\n" +
		"keep must be at least 1, not 0\n" +
		"directory is missing: set it to the directory of the versions"; !ok || faults.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestApply_Cancelled cancels a document while its files are being written.
func TestApply_Cancelled(t *testing.T) {
	directory := t.TempDir()
	sink := start(t, sdk.Block{"directory": directory}, slog.DiscardHandler)
	apply(t, sink, []byte("old"), sdk.ActionWritten)

	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan error, 1)
	go func() {
		_, err := sink.Apply(ctx, document(bytes.Repeat([]byte("x"), 64<<20)))
		applied <- err
	}()
	staged := func() []string {
		names, _ := filepath.Glob(filepath.Join(directory, "versions", ".new-*"))
		return names
	}
	eventually(t, "it writes", func() bool { return len(staged()) > 0 || len(applied) > 0 })
	cancel()
	if err := <-applied; err != nil && !errors.Is(err, context.Canceled) { // nil if the call had finished before
		t.Fatalf("got %v", err)
	}
	apply(t, sink, []byte("new"), sdk.ActionWritten)
	expectCurrent(t, directory, []byte("new"))
	if left := staged(); len(left) > 0 {
		t.Errorf("temporary files exist: %q", left)
	}
}

func TestPublishedDocumentStays(t *testing.T) {
	directory := t.TempDir()
	sink := start(t, sdk.Block{"directory": directory}, slog.DiscardHandler)
	apply(t, sink, []byte("one"), sdk.ActionWritten)
	if err := syscall.Kill(sink.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sink.Restarted()
	apply(t, sink, []byte("one"), sdk.ActionUnchanged)
	pid := sink.PID()
	if err := sink.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	expectCurrent(t, directory, []byte("one"))
}

func TestEndsWithDaemon(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sockets := t.TempDir()
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), daemonDirectory+"="+t.TempDir(), "TMPDIR="+sockets)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatalf("the daemon printed %q: %v", line, err)
	}
	eventually(t, "the plugin is gone", func() bool { return gone(pid) })
	if left, _ := filepath.Glob(filepath.Join(sockets, "*", "plugin*")); len(left) > 0 {
		t.Errorf("the socket still exists: %q", left)
	}
}

// logBuffer is a log for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
