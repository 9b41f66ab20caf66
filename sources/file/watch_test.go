package file

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// events are the times of a watch that finds changes by events alone.
var events = filewatch.Watcher{Poll: time.Hour}

// A fileTest is a source that watches a file which the test edits.
type fileTest struct {
	t      *testing.T
	source *Source
	path   string
	snaps  chan sdk.Snapshot
	log    *lines
}

type lines struct{ seen chan string }

func (l *lines) Write(p []byte) (int, error) {
	l.seen <- string(bytes.Clone(p))
	return len(p), nil
}

func start(t *testing.T, path string, w filewatch.Watcher) *fileTest {
	t.Helper()
	tr := &fileTest{t: t, path: path, snaps: make(chan sdk.Snapshot, 100), log: &lines{make(chan string, 100)}}
	s, err := New(sdk.Env{Name: "here", Log: slog.New(slog.NewTextHandler(tr.log, nil))}, Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	tr.source = s
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.watch(ctx, w, func(snap sdk.Snapshot) { tr.snaps <- snap }) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return tr
}

func (tr *fileTest) write(content string) {
	tr.t.Helper()
	if err := os.WriteFile(tr.path, []byte(content), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *fileTest) replace(content string) {
	tr.t.Helper()
	next := tr.path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.Rename(next, tr.path); err != nil {
		tr.t.Fatal(err)
	}
}

// wantNames waits for a snapshot of services with these names.
func (tr *fileTest) wantNames(want string) sdk.Snapshot {
	tr.t.Helper()
	for {
		select {
		case snap := <-tr.snaps:
			var names []string
			for _, svc := range snap.Services {
				names = append(names, svc.Name)
			}
			if strings.Join(names, " ") == want {
				return snap
			}
		case <-time.After(30 * time.Second): // only a failing test gets there
			tr.t.Fatalf("no snapshot of %q", want)
		}
	}
}

func (tr *fileTest) wantLine(want string) {
	tr.t.Helper()
	for {
		select {
		case line := <-tr.log.seen:
			if strings.Contains(line, want) {
				return
			}
		case <-time.After(30 * time.Second): // only a failing test gets there
			tr.t.Fatalf("no line with %q", want)
		}
	}
}

// wantProblem reports an error unless the source reports a problem with these words, or none if there are no words.
func (tr *fileTest) wantProblem(words string) {
	tr.t.Helper()
	health, err := tr.source.Health(tr.t.Context())
	if problems := strings.Join(health.Problems, "; "); err != nil || (problems == "") != (words == "") ||
		!strings.Contains(problems, words) || words != "" && strings.Count(problems, tr.source.path) != 1 {
		tr.t.Errorf("the health is %q, %v; want %q", problems, err, words)
	}
}

func listOf(names ...string) string {
	var content strings.Builder
	for _, name := range names {
		content.WriteString("- {name: " + name + ", hostname: h}\n")
	}
	return content.String()
}

func TestWatch_ChangedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(path, []byte(listOf("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := start(t, path, events)
	snap := tr.wantNames("a")
	if snap.Source != "here" || snap.Cause != sdk.CauseWatch || snap.Taken.IsZero() || snap.Changed.IsZero() {
		t.Errorf("a field is not set: %+v", snap)
	}
	tr.write(listOf("a", "b"))
	tr.wantNames("a b")
	tr.replace(listOf("b"))
	tr.wantNames("b")
	tr.replace(listOf("b", "c"))
	tr.wantNames("b c")
}

func TestWatch_InvalidAndMissingFile(t *testing.T) {
	tr := start(t, filepath.Join(t.TempDir(), "services.yaml"), events)
	tr.wantLine("no such file")
	tr.wantProblem("no such file")
	tr.write(listOf("a"))
	tr.wantLine("can be read again")
	tr.wantProblem("")
	tr.wantNames("a")
	tr.write("- name: a\n  hostname: h\n  prots: 7\n")
	tr.wantLine(`services.yaml:3: unknown key \"prots\"`)
	tr.wantProblem("unknown key")
	if err := os.Remove(tr.path); err != nil {
		t.Fatal(err)
	}
	tr.wantLine("no such file")
	tr.write(listOf("b"))
	tr.wantNames("b")
	if n := len(tr.snaps); n != 0 {
		t.Errorf("%d snapshots too many", n)
	}
}

// An orchestrator switches a link to a directory, and the name of the file does not change.
func TestWatch_SwitchedLink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "services.yaml"), []byte(listOf(name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(from, to string) {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", "now")
	link("now/services.yaml", "services.yaml")
	tr := start(t, filepath.Join(dir, "services.yaml"), events)
	tr.wantNames("v1")
	link("v2", "next")
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "now")); err != nil {
		t.Fatal(err)
	}
	tr.wantNames("v2")
}

func TestWatch_DirectoryCreatedLaterWithoutEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	tr := start(t, filepath.Join(dir, "services.yaml"), filewatch.Watcher{Poll: 10 * time.Millisecond, PollOnly: true})
	tr.wantLine("no such file")
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		tr.write(listOf(name))
		tr.wantNames(name)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWatch_DirectoryRemovedAndCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "directory")
	tr := start(t, filepath.Join(dir, "services.yaml"), events)
	tr.wantLine("no such file")
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		tr.write(listOf(name))
		tr.wantNames(name)
		tr.replace(listOf(name, name+"2"))
		tr.wantNames(name + " " + name + "2")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		tr.wantLine("no such file")
	}
}

func TestWatch_EndsWithContext(t *testing.T) {
	s, err := New(sdk.Env{}, Config{Path: filepath.Join(t.TempDir(), "services.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Watch(ctx, func(sdk.Snapshot) {}); err != nil {
		t.Error(err)
	}
}

func TestWatch_DirectoryThatIsNeverQuiet(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, filepath.Join(dir, "services.yaml"), filewatch.Watcher{Poll: time.Hour, Quiet: 50 * time.Millisecond})
	tr.wantLine("no such file")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = os.WriteFile(filepath.Join(dir, "other"), nil, 0o600)
		}
	})
	tr.write(listOf("a"))
	tr.wantNames("a")
	cancel()
	wg.Wait()
}

func TestConfig(t *testing.T) {
	if _, err := New(sdk.Env{}, Defaults()); err == nil || !strings.Contains(err.Error(), "path") {
		t.Errorf("got %v", err)
	}
}
