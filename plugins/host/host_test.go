package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

type notesConfig struct {
	Folder   string `json:"folder"`
	Greeting string `json:"greeting"`
	Checks   bool   `json:"checks"`
	Rereads  bool   `json:"rereads"`
}

func (c notesConfig) Validate() error {
	if c.Folder == "" {
		return errors.New("folder is missing: say where the notes go")
	}
	return nil
}

// notes writes documents into its folder. Some contents have a special meaning.
type notes struct {
	cfg   notesConfig
	env   sdk.Env
	hoard [][]byte
	slow  chan struct{} // received from with each question for health, while a slow document is under way
	hung  atomic.Bool   // the health is not told any more
	lost  func(sdk.Lost)
}

func openNotes(_ context.Context, env sdk.Env, cfg notesConfig) (sdk.Sink, error) {
	if _, err := os.Stat(filepath.Join(cfg.Folder, "down")); err == nil {
		return nil, fmt.Errorf("the backend does not answer: %w", syscall.ECONNREFUSED)
	}
	if _, err := os.Stat(filepath.Join(cfg.Folder, "wrong")); err == nil {
		return nil, sdk.Rejectf("there is no such backend")
	}
	env.Log.Warn("opened", "greeting", cfg.Greeting, "name", env.Name, "took", 1500*time.Millisecond)
	n := &notes{cfg: cfg, env: env, slow: make(chan struct{})}
	if cfg.Checks {
		return checker{n}, nil
	}
	if cfg.Rereads {
		return rereader{n}, nil
	}
	return n, nil
}

func (n *notes) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	switch content := string(doc.Files[0].Content); content {
	case "reject":
		return sdk.Result{Details: []string{"line 1"}}, sdk.Rejectf("line 1 is wrong")
	case "reject there":
		return sdk.Result{}, fmt.Errorf("look: %w", &sdk.Rejection{Err: errors.New("no such thing"), Positions: wrongPositions})
	case "latin":
		return sdk.Result{Details: []string{"caf\xe9"}}, errors.New("caf\xe9")
	case "busy":
		return sdk.Result{}, sdk.RetryAfter(errors.New("busy"), time.Minute)
	case "wait":
		<-ctx.Done()
		return sdk.Result{}, context.Cause(ctx)
	case "slow":
		for range 3 {
			<-n.slow
		}
	case "hang":
		n.hung.Store(true)
		select {}
	case "later":
		return sdk.Result{}, sdk.Deferred("one reload in five seconds", time.Minute)
	case "fail to load":
		return sdk.Result{}, sdk.NotLoaded(errors.New("cannot chroot"))
	case "lose":
		n.lost(sdk.Lost{Err: sdk.NotLoaded(errors.New("it ended")), Generation: 3})
	case "lose twice":
		n.lost(sdk.Lost{Err: errors.New("older"), Generation: 4})
		n.lost(sdk.Lost{Err: sdk.Rejectf("newer"), Generation: 5, Digest: "d5"})
	case "keep state":
		dir, err := n.env.CreateStateDir()
		return sdk.Result{Reason: dir}, err
	case "trace":
		return sdk.Result{Reason: sdk.TraceParent(ctx)}, nil
	case "unsupported":
		return sdk.Result{}, fmt.Errorf("without a program: %w", errors.ErrUnsupported)
	case "leak":
		n.leak()
	case "print":
		fmt.Fprintln(os.Stderr, "on standard error")
		fmt.Println("on standard output")
		log.Println("by package log")
		_, _ = syscall.Write(1, []byte("on file 1\n"))
	case "panic":
		fmt.Fprintln(os.Stderr, "a moment before")
		panic("all is lost")
	case "concurrent map writes":
		writeConcurrently()
	case "die":
		os.Exit(3)
	}
	content, err := json.Marshal(doc)
	if err == nil {
		err = os.WriteFile(filepath.Join(n.cfg.Folder, "note"), content, 0o600)
	}
	return sdk.Result{Action: sdk.ActionWritten, Reason: "told to", Took: 1, Details: []string{"a", "b"}}, err
}

var wrongPositions = []sdk.Position{
	{File: "main", Path: "/etc/main", Line: 3, Problem: "unknown word"}, {File: "other", Problem: "too long"},
}

func (n *notes) OnLost(lost func(sdk.Lost)) { n.lost = lost }

// writeConcurrently has the runtime end the program, which no deferred function can prevent.
func writeConcurrently() {
	m := map[int]int{}
	for range 8 {
		go func() {
			for i := 0; ; i++ {
				m[i%100] = i
			}
		}()
	}
	select {}
}

// leak allocates memory until the system refuses more, for which it sets a limit.
func (n *notes) leak() {
	const limit = 3 << 30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return
	}
	for {
		n.hoard = append(n.hoard, make([]byte, 64<<20))
	}
}

// checker is notes with a Check that behaves like Apply.
type checker struct{ *notes }

func (n checker) Check(ctx context.Context, doc sdk.Document) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	_, err := n.Apply(ctx, doc)
	return err
}

func (n *notes) Health(ctx context.Context) (sdk.Health, error) {
	if err := n.waits(ctx); err != nil {
		return sdk.Health{}, err
	}
	if n.hung.Load() {
		select {}
	}
	select {
	case n.slow <- struct{}{}:
	default:
	}
	return sdk.Health{Problems: []string{"too quiet"}, Facts: map[string]string{"pid": fmt.Sprint(os.Getpid())}}, nil
}

// waits blocks until ctx is done if there is a file "waits", and returns an error then.
func (n *notes) waits(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(n.cfg.Folder, "waits")); err != nil {
		return nil
	}
	<-ctx.Done()
	return errors.New("process 7 has it")
}

// Claim fails while there is a file "taken", hangs while there is a file "stuck", and otherwise writes its process id.
func (n *notes) Claim(ctx context.Context) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Folder, "stuck")); err == nil {
		select {}
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Folder, "taken")); err == nil {
		return errors.New("somebody else has it")
	}
	return os.WriteFile(filepath.Join(n.cfg.Folder, "claimed"), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

func (n *notes) Stop(ctx context.Context) error {
	if err := n.waits(ctx); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.cfg.Folder, "stopped"), nil, 0o600)
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
	folder := t.TempDir()
	if block == nil {
		block = sdk.Block{"folder": folder}
	}
	buffer := &logBuffer{}
	sink, err := StartSink(t.Context(), Options{
		Name: "edge", Path: self, Block: block, Log: slog.New(slog.NewTextHandler(buffer, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink, folder, buffer
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

// rereader is notes that can reread files.
type rereader struct{ *notes }

func (n rereader) Reread(_ context.Context, watched sdk.Watched) (sdk.Result, error) {
	return sdk.Result{Action: sdk.ActionReload, Reason: watched.ID, Details: watched.Changed},
		sdk.RetryAfter(errors.New("busy"), time.Minute)
}

func TestReread(t *testing.T) {
	sink, _, _ := startNotes(t, sdk.Block{"rereads": true, "folder": t.TempDir()})
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
	options, folder := echoOptions(t, "sink")
	sink, err := StartSink(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	want := []sdk.Server{{Backend: "web", Name: "one", Status: "DRAIN", Sessions: 3}}
	put(t, filepath.Join(folder, "answer"), response{Servers: want})
	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan error)
	go func() {
		_, err := sink.Apply(ctx, document("wait"))
		applied <- err
	}()
	eventually(t, "Apply runs", func() bool {
		_, err := os.Stat(filepath.Join(folder, "asked"))
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
	sink, folder, log := startNotes(t, nil)
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
	if err := sink.Check(t.Context(), doc); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a sink that cannot check says %v", err)
	}
	if want := `level=WARN msg=opened greeting=hello name=edge took=1.5s`; !strings.Contains(log.String(), want) {
		t.Errorf("the plugin's log did not arrive: %s", log)
	}
}

func TestSink_Errors(t *testing.T) {
	sink, _, _ := startNotes(t, nil)
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
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err = sink.Apply(ctx, document("wait")); !errors.Is(err, context.Canceled) {
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

func TestSink_IgnoresSIGTERM(t *testing.T) {
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
