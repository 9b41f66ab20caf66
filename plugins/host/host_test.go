package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// TestMain is also the main function of the plugins: the tests start their own binary.
func TestMain(m *testing.M) {
	// The race detector keeps a program for a second at its end, which looks like a program that does not end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	if kind := os.Getenv("ECHO_PLUGIN"); kind != "" {
		serveEcho(kind)
		return
	}
	if hangs := os.Getenv("RAW_PLUGIN"); hangs != "" {
		serveRaw(hangs)
		return
	}
	if os.Getenv("EXCESSIVE_PLUGIN") != "" {
		serveExcessive()
		return
	}
	if os.Getenv(wire.CookieKey) == wire.CookieValue {
		serve.Sink(sdk.Info{Name: "notes", Version: "1.2"}, notesConfig{Greeting: "hello"}, openNotes)
		return
	}
	goleak.VerifyTestMain(m)
}

// logBuffer is a log for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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

func startNotes(t *testing.T, block sdk.Block) (*Sink, string, *logBuffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	if block == nil {
		block = sdk.Block{"directory": directory}
	}
	buffer := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: block, Log: slog.New(slog.NewTextHandler(buffer, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink, directory, buffer
}

func document(content string) sdk.Document {
	files := []sdk.File{{Name: "main", Content: []byte(content)}, {Name: "other", Content: []byte{0, 255}}}
	return sdk.Document{Pipeline: "p", Generation: 7, Digest: sdk.DigestOf(files), Files: files}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// rereader is notes that can reread files.
type rereader struct{ *notes }

func (n rereader) Reread(_ context.Context, watched sdk.Watched) (sdk.Result, error) {
	return sdk.Result{Action: sdk.ActionReload, Reason: watched.ID, Details: watched.Changed},
		sdk.RetryAfter(errors.New("busy"), time.Minute)
}

func TestReread(t *testing.T) {
	sink, _, _ := startNotes(t, sdk.Block{"rereads": true, "directory": t.TempDir()})
	got, err := sink.Reread(t.Context(), sdk.Watched{ID: "a.1", Changed: []string{"one", "two"}})
	want := sdk.Result{Action: sdk.ActionReload, Reason: "a.1", Details: []string{"one", "two"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || retry.After != time.Minute {
		t.Errorf("the error is %v", err)
	}
}

func TestReread_Unsupported(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	if _, err := sink.Reread(t.Context(), sdk.Watched{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the error is %v", err)
	}
}

func TestServers_WhileApplyRuns(t *testing.T) {
	options, directory := echoOptions(t, "sink")
	sink, err := StartSink(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	want := []sdk.Server{{Backend: "web", Name: "one", Status: "DRAIN", Sessions: 3}}
	put(t, filepath.Join(directory, "answer"), response{Servers: want})
	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan error)
	go func() {
		_, err := sink.Apply(ctx, document("wait"))
		applied <- err
	}()
	eventually(t, "Apply runs", func() bool {
		_, err := os.Stat(filepath.Join(directory, "asked"))
		return err == nil
	})
	got, err := sink.Servers(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	cancel()
	if err := <-applied; !errors.Is(err, context.Canceled) {
		t.Errorf("Apply has returned %v", err)
	}
}

func TestServers_Unsupported(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	if _, err := sink.Servers(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the error is %v", err)
	}
}

func TestSink(t *testing.T) {
	sink, directory, log := startNotes(t, nil)
	doc := document("text")
	doc.Retry, doc.Watched, doc.LoadFailure = true, "w.1", "the worker ended"
	got, err := sink.Apply(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Result{Action: sdk.ActionWritten, Reason: "told to", Took: 1, Details: []string{"a", "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
	content, err := os.ReadFile(filepath.Join(directory, "note"))
	if err != nil {
		t.Fatal(err)
	}
	var arrived sdk.Document
	if err := json.Unmarshal(content, &arrived); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, arrived); diff != "" {
		t.Errorf("document (-want +got)\n%s", diff)
	}
	health, err := sink.Health(t.Context())
	if err != nil || health.OK() || health.Problems[0] != "too quiet" {
		t.Errorf("health %+v, %v", health, err)
	}
	if err := sink.Check(t.Context(), doc); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a sink that cannot check says %v", err)
	}
	if want := `level=WARN msg=opened greeting=hello name=edge took=1.5s`; !strings.Contains(log.String(), want) {
		t.Errorf("the plugin's log did not arrive: %s", log)
	}
}

func TestSink_Errors(t *testing.T) {
	sink, _, log := startNotes(t, nil)
	result, err := sink.Apply(t.Context(), document("reject"))
	if !errors.Is(err, sdk.ErrRejected) || err.Error() != "line 1 is wrong" || len(result.Details) != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
	_, err = sink.Apply(t.Context(), document("reject there"))
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || !errors.Is(err, sdk.ErrRejected) || !slices.Equal(rejection.Positions, wrongPositions) ||
		err.Error() != "look: no such thing: [/etc/main:3] unknown word; too long" {
		t.Errorf("got %v", err)
	}
	_, err = sink.Apply(t.Context(), document("later"))
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || !errors.Is(err, sdk.ErrDeferred) ||
		err.Error() != "one reload in five seconds" || retry.After != time.Minute {
		t.Errorf("got %v", err)
	}
	_, err = sink.Apply(t.Context(), document("busy"))
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || retry.After != time.Minute || errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
	_, err = sink.Apply(t.Context(), document("fail to load"))
	if !errors.Is(err, sdk.ErrNotLoaded) || err.Error() != "cannot chroot" {
		t.Errorf("got %v", err)
	}
	if err := cancelApply(t, sink, log); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSink_PassesTheTraceContextOn(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	for _, want := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""} {
		ctx := t.Context()
		if want != "" {
			ctx = sdk.WithTraceParent(ctx, want)
		}
		if result, err := sink.Apply(ctx, document("trace")); err != nil || result.Reason != want {
			t.Errorf("the plugin got %q, %v, want %q", result.Reason, err, want)
		}
	}
}

func TestSink_Lost(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	apply := func(content string) {
		t.Helper()
		if _, err := sink.Apply(t.Context(), document(content)); err != nil {
			t.Fatal(err)
		}
	}
	apply("lose")
	lost := <-sink.Lost()
	if !errors.Is(lost.Err, sdk.ErrNotLoaded) || lost.Generation != 3 {
		t.Errorf("lost %+v", lost)
	}
	apply("lose twice")
	for lost = <-sink.Lost(); lost.Generation == 4; lost = <-sink.Lost() { // it may have been read before the newer one came
	}
	if !errors.Is(lost.Err, sdk.ErrRejected) || lost.Generation != 5 || lost.Digest != "d5" {
		t.Errorf("lost %+v", lost)
	}
}

func TestStart_FaultsInTheBlock(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		block sdk.Block
		want  sdk.Faults
	}{
		{nil, sdk.Faults{{Problem: "directory is missing: say where the notes go"}}},
		{sdk.Block{"directry": "x", "greeting": 5}, sdk.Faults{
			{Key: "directry", Problem: "is not a known key; did you mean directory?"},
			{Key: "greeting", Problem: "must be text, not 5"},
		}},
	} {
		_, err := StartSink(t.Context(), Options{Name: "edge", Path: self, Block: test.block, Log: slog.New(slog.DiscardHandler)})
		if diff := cmp.Diff(error(test.want), err); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestStart_ProgramIsNoPlugin(t *testing.T) {
	for path, want := range map[string]string{
		"/bin/true":           "plugin edge (/bin/true) did not start: ",
		"/nonexistent/plugin": "there is no plugin at /nonexistent/plugin: install it there or correct the path",
	} {
		_, err := StartSink(t.Context(), Options{Name: "edge", Path: path, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v", err)
		}
	}
}

func pidOf(t *testing.T, sink *Sink) int {
	t.Helper()
	health, err := sink.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(health.Facts["pid"], &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestSink_StopAndClose(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		sink, directory, _ := startNotes(t, nil)
		pid := pidOf(t, sink)
		var err error
		if orderly {
			err = sink.Stop(t.Context())
		} else {
			err = sink.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(directory, "stopped")); (err == nil) != orderly {
			t.Errorf("orderly %v, yet the note of it: %v", orderly, err)
		}
		eventually(t, "the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
		if health, err := sink.Health(t.Context()); err != nil || health.OK() {
			t.Errorf("a plugin that was ended is well: %+v, %v", health, err)
		}
	}
}

func TestSink_IgnoresSIGTERM(t *testing.T) {
	sink, directory, _ := startNotes(t, nil)
	pid := pidOf(t, sink)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if now := pidOf(t, sink); now != pid {
		t.Errorf("process %d became %d", pid, now)
	}
	if err := sink.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(directory, "stopped")); err != nil {
		t.Errorf("Stop was not carried out: %v", err)
	}
}
