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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// TestMain is also the plugin: the tests start their own binary as one.
func TestMain(m *testing.M) {
	// The race detector keeps a program for a second at its end, which here would pass for a program that lingers.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	if kind := os.Getenv("ECHO_PLUGIN"); kind != "" {
		serveEcho(kind)
		return
	}
	if os.Getenv(wire.CookieKey) == wire.CookieValue {
		sdk.ServeSink(sdk.Info{Name: "notes", Version: "1.2"}, notesConfig{Greeting: "hello"}, openNotes)
		return
	}
	goleak.VerifyTestMain(m)
}

type notesConfig struct {
	Folder   string `json:"folder"`
	Greeting string `json:"greeting"`
}

func (c notesConfig) Validate() error {
	if c.Folder == "" {
		return errors.New("folder is missing: say where the notes go")
	}
	return nil
}

// notes writes what it is offered into its folder. A few contents have a meaning of their own.
type notes struct {
	cfg   notesConfig
	env   sdk.Env
	hoard [][]byte
}

func openNotes(_ context.Context, env sdk.Env, cfg notesConfig) (sdk.Sink, error) {
	env.Log.Warn("opened", "greeting", cfg.Greeting, "name", env.Name)
	return &notes{cfg: cfg, env: env}, nil
}

func (n *notes) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	switch content := string(doc.Files[0].Content); content {
	case "reject":
		return sdk.Result{Details: []string{"line 1"}}, sdk.Rejectf("line 1 is wrong")
	case "latin":
		return sdk.Result{Details: []string{"caf\xe9"}}, errors.New("caf\xe9")
	case "busy":
		return sdk.Result{}, sdk.RetryAfter(errors.New("busy"), time.Minute)
	case "wait":
		<-ctx.Done()
		return sdk.Result{}, context.Cause(ctx)
	case "leak":
		n.leak()
	case "die":
		os.Exit(3)
	}
	content, err := json.Marshal(doc)
	if err == nil {
		err = os.WriteFile(filepath.Join(n.cfg.Folder, "note"), content, 0o600)
	}
	return sdk.Result{Action: sdk.ActionWritten, Reason: "told to", Took: time.Second, Details: []string{"a", "b"}}, err
}

// leak takes memory until the system gives no more, which a limit brings near.
func (n *notes) leak() {
	const limit = 3 << 30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return
	}
	for {
		n.hoard = append(n.hoard, make([]byte, 64<<20))
	}
}

func (n *notes) Health(context.Context) (sdk.Health, error) {
	return sdk.Health{Problems: []string{"too quiet"}, Facts: map[string]string{"pid": fmt.Sprint(os.Getpid())}}, nil
}

func (n *notes) Stop(context.Context) error {
	return os.WriteFile(filepath.Join(n.cfg.Folder, "stopped"), nil, 0o600)
}

// logBuffer is a log that tests read.
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
	folder := t.TempDir()
	if block == nil {
		block = sdk.Block{"folder": folder}
	}
	log := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: block, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink, folder, log
}

func document(content string) sdk.Document {
	files := []sdk.File{{Name: "main", Content: []byte(content)}, {Name: "other", Content: []byte{0, 255}}}
	return sdk.Document{Pipeline: "p", Generation: 7, Digest: sdk.DigestOf(files), Files: files}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestAPluginIsASinkLikeAnyOther(t *testing.T) {
	sink, folder, log := startNotes(t, nil)
	doc := document("text")
	got, err := sink.Apply(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	want := sdk.Result{Action: sdk.ActionWritten, Reason: "told to", Took: time.Second, Details: []string{"a", "b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got)\n%s", diff)
	}
	content, err := os.ReadFile(filepath.Join(folder, "note"))
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
	if err := sink.Check(t.Context(), doc); err != nil {
		t.Errorf("a sink that cannot check refused: %v", err)
	}
	if want := `level=WARN msg=opened greeting=hello name=edge`; !strings.Contains(log.String(), want) {
		t.Errorf("the plugin's log did not arrive: %s", log)
	}
}

func TestErrorsCrossTheBorder(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	result, err := sink.Apply(t.Context(), document("reject"))
	if !errors.Is(err, sdk.ErrRejected) || err.Error() != "line 1 is wrong" || len(result.Details) != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
	_, err = sink.Apply(t.Context(), document("busy"))
	if retry, ok := errors.AsType[*sdk.RetryError](err); !ok || retry.After != time.Minute || errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err = sink.Apply(ctx, document("wait")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFaultsInTheBlockAreTheCallersToReport(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		block sdk.Block
		want  sdk.Faults
	}{
		{nil, sdk.Faults{{Problem: "folder is missing: say where the notes go"}}},
		{sdk.Block{"foldr": "x", "greeting": 5}, sdk.Faults{
			{Key: "foldr", Problem: "is not a known key; did you mean folder?"},
			{Key: "greeting", Problem: "must be text, not 5"},
		}},
	} {
		_, err := StartSink(t.Context(), Options{Name: "edge", Path: self, Block: test.block, Log: slog.New(slog.DiscardHandler)})
		if diff := cmp.Diff(error(test.want), err); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestAProgramThatIsNoPluginGetsASentence(t *testing.T) {
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

func TestADeadPluginIsStartedAgain(t *testing.T) {
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

func TestStopIsAnOrderlyEndAndCloseIsNot(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		sink, folder, _ := startNotes(t, nil)
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
		if _, err := os.Stat(filepath.Join(folder, "stopped")); (err == nil) != orderly {
			t.Errorf("orderly %v, yet the note of it: %v", orderly, err)
		}
		eventually(t, "the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
		if health, err := sink.Health(t.Context()); err != nil || health.OK() {
			t.Errorf("a plugin that was ended is well: %+v, %v", health, err)
		}
	}
}

func TestAPluginFollowsADaemonThatDied(t *testing.T) {
	sink, folder, _ := startNotes(t, nil)
	pid := pidOf(t, sink)
	p, err := sink.process()
	if err != nil {
		t.Fatal(err)
	}
	p.detach() // what the plugin sees when the daemon is killed
	eventually(t, "the process is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	if _, err := os.Stat(filepath.Join(folder, "stopped")); err == nil {
		t.Error("the plugin took the daemon's death for an orderly end")
	}
}

func TestAFloodInThePluginsLogIsDammed(t *testing.T) {
	buffer := &logBuffer{}
	w := &logWriter{log: slog.New(slog.NewTextHandler(buffer, nil))}
	now := time.Unix(1000, 0)
	passed := 0
	for range 5000 {
		if !w.flooded(now) {
			passed++
		}
	}
	if passed != maxLogLines || buffer.String() != "" {
		t.Errorf("%d lines passed; the log says %q", passed, buffer)
	}
	if w.flooded(now.Add(time.Second)) || !strings.Contains(buffer.String(), "lines=4800") {
		t.Errorf("the next second: %q", buffer)
	}
}

func TestAPluginThatDoesNotStartIsOutlasted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: path, Block: sdk.Block{"folder": folder}, Log: slog.New(slog.DiscardHandler), Outlast: true,
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

// hangs is a program that never says a word.
func hangs(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAStartThatHangsEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := StartSink(ctx, Options{Name: "edge", Path: hangs(t), Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAStartThatHangsHoldsUpNeitherTheDaemonNorItsEnd(t *testing.T) {
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: hangs(t), Log: slog.New(slog.DiscardHandler), Outlast: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Apply(t.Context(), document("text")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if err := sink.Stop(t.Context()); !errors.Is(err, errDown) { // else the test's own time limit ends it
		t.Errorf("got %v", err)
	}
}

func TestAPluginThatDiesWithItsDaemonLeavesNoSocket(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	sink, _, _ := startNotes(t, nil)
	if err := sink.Abandon(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAPluginThatLeaksUntilItDiesIsStartedAgain(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
	if _, err := sink.Apply(t.Context(), document("leak")); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	<-sink.Restarted()
	if _, err := sink.Apply(t.Context(), document("text")); err != nil {
		t.Error(err)
	}
}

func TestNothingInAPluginsLogIsTrusted(t *testing.T) {
	buffer := &logBuffer{}
	w := &logWriter{log: slog.New(slog.NewTextHandler(buffer, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, line := range []string{
		`{"@message":1,"@level":[],"@timestamp":{}}`, "{\n", `null`, `"text"`, `{"msg":"m","level":"ERROR","k":{"a":1}}`,
		`{"@message":"hc","@level":"trace","x":1}`, "plain \x1b[31m", strings.Repeat("x", 2*maxLogLine),
	} {
		_, _ = w.Write([]byte(line))
		_, _ = w.Write([]byte("\n"))
	}
	for _, want := range []string{"level=ERROR msg=m k=", "level=DEBUG msg=hc x=1", `msg="plain \x1b[31m"`, "msg=null"} {
		if !strings.Contains(buffer.String(), want) {
			t.Errorf("no %q in the log:\n%.2000s", want, buffer)
		}
	}
}

// halt stops a process and waits until all of it stands still, which takes a moment.
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

func TestAHungPluginIsKilledAndStartedAgain(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: sdk.Block{"folder": t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		pulse: pulse{every: 20 * time.Millisecond, within: time.Second},
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

func TestAHungPluginDoesNotDelayTheEnd(t *testing.T) {
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

func TestFindLooksInTheRightOrder(t *testing.T) {
	folder, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	if _, err := Find("sink", "x", "", folder); err == nil || !strings.Contains(err.Error(), "haproxy-api-sink-x") {
		t.Errorf("got %v", err)
	}
	for _, place := range []string{path, folder} { // each hides the one before
		want := filepath.Join(place, "haproxy-api-sink-x")
		if err := os.WriteFile(want, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if got, err := Find("sink", "x", "", folder); err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
	if got, err := Find("sink", "x", "/else/where", folder); err != nil || got != "/else/where" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestVerifyRefusesWhatMayHaveBeenExchanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("text"), 0o755); err != nil {
		t.Fatal(err)
	}
	const sum = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
	if err := verify(path, strings.ToUpper(sum)); err != nil {
		t.Error(err)
	}
	if err := verify(path, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), sum) {
		t.Errorf("got %v", err)
	}
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	if err := verify(path, ""); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("got %v", err)
	}
}

func TestListFindsWhatFindFinds(t *testing.T) {
	folder, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	for _, name := range []string{
		folder + "/haproxy-api-sink-a", path + "/haproxy-api-sink-a",
		path + "/haproxy-api-source-b-c", path + "/haproxy-api-sync-d",
	} {
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := []Installed{
		{"sink", "a", folder + "/haproxy-api-sink-a"},
		{"source", "b-c", path + "/haproxy-api-source-b-c"},
	}
	if diff := cmp.Diff(want, List(folder)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOnlyTheDaemonEndsItsPlugins(t *testing.T) {
	sink, folder, _ := startNotes(t, nil)
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
	if _, err := os.Stat(filepath.Join(folder, "stopped")); err != nil {
		t.Errorf("Stop was not carried out: %v", err)
	}
}
