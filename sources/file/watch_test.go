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

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A trial is a source that watches a file which the test edits.
type trial struct {
	t     *testing.T
	path  string
	snaps chan sdk.Snapshot
	log   *lines
}

type lines struct{ seen chan string }

func (l *lines) Write(p []byte) (int, error) {
	l.seen <- string(bytes.Clone(p))
	return len(p), nil
}

func start(t *testing.T, path string, change func(*Source)) *trial {
	t.Helper()
	tr := &trial{t: t, path: path, snaps: make(chan sdk.Snapshot, 100), log: &lines{make(chan string, 100)}}
	s, err := New(sdk.Env{Name: "here", Log: slog.New(slog.NewTextHandler(tr.log, nil))}, Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s.poll = time.Hour // so that only events count, unless a test says otherwise
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Watch(ctx, func(snap sdk.Snapshot) { tr.snaps <- snap }); err != nil {
			t.Errorf("Watch returned %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return tr
}

func (tr *trial) write(content string) {
	tr.t.Helper()
	if err := os.WriteFile(tr.path, []byte(content), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *trial) replace(content string) {
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
func (tr *trial) wantNames(want string) sdk.Snapshot {
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

func (tr *trial) wantLine(want string) {
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

func listOf(names ...string) string {
	var content strings.Builder
	for _, name := range names {
		content.WriteString("- {name: " + name + ", hostname: h}\n")
	}
	return content.String()
}

func TestWatchFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(path, []byte(listOf("a")), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := start(t, path, nil)
	snap := tr.wantNames("a")
	if snap.Source != "here" || snap.Taken.IsZero() || snap.Changed.IsZero() {
		t.Errorf("not stamped: %+v", snap)
	}
	tr.write(listOf("a", "b"))
	tr.wantNames("a b")
	tr.replace(listOf("b"))
	tr.wantNames("b")
	tr.replace(listOf("b", "c"))
	tr.wantNames("b c")
}

func TestWatchKeepsTheLastGoodCatalogue(t *testing.T) {
	tr := start(t, filepath.Join(t.TempDir(), "services.yaml"), nil)
	tr.wantLine("no such file")
	tr.write(listOf("a"))
	tr.wantLine("can be read again")
	tr.wantNames("a")
	tr.write("- name: a\n  hostname: h\n  prots: 7\n")
	tr.wantLine(`services.yaml:3: \"prots\" is not a key`)
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

// An orchestrator swaps a link to a folder, and the file's own name never changes.
func TestWatchSeesASwappedFolder(t *testing.T) {
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
	tr := start(t, filepath.Join(dir, "services.yaml"), nil)
	tr.wantNames("v1")
	link("v2", "next")
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "now")); err != nil {
		t.Fatal(err)
	}
	tr.wantNames("v2")
}

func TestWatchPollsForAFolderThatComesLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	tr := start(t, filepath.Join(dir, "services.yaml"), func(s *Source) { s.poll = 10 * time.Millisecond })
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

func TestFolderThatWasMadeAnewIsWatchedAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	w := &watching{Source: &Source{path: filepath.Join(dir, "services.yaml")}}
	defer w.closeFolder()
	for range 2 {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w.openFolder()
		if w.folder == nil {
			t.Fatal("the folder is not watched")
		}
		if err := os.WriteFile(w.path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.events():
		case <-time.After(30 * time.Second): // only a failing test gets there
			t.Fatal("no event")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		for len(w.folder.WatchList()) > 0 {
			<-w.events()
		}
	}
}

func TestWatchReadsWhileTheFolderIsNeverQuiet(t *testing.T) {
	dir := t.TempDir()
	tr := start(t, filepath.Join(dir, "services.yaml"), func(s *Source) { s.settle = 50 * time.Millisecond })
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
