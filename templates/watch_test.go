package templates

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// never is a poll interval that does not end: a test with it depends on events.
const never = time.Hour

// must fails the test for the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// startWatch watches set with w and returns a channel that receives with each change.
func startWatch(t *testing.T, set *Set, w filewatch.Watcher) <-chan struct{} {
	t.Helper()
	changes := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { set.watch(ctx, w, func(string) { changes <- struct{}{} }) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return changes
}

// await loads the set at every change, until it renders to want. It returns the number of changes until then.
func await(t *testing.T, set *Set, changes <-chan struct{}, want string) int {
	t.Helper()
	deadline := time.After(time.Minute)
	var got string
	for n := 1; ; n++ {
		select {
		case <-changes:
			tmpl, err := set.Load()
			if err != nil {
				got = err.Error()
				continue
			}
			if got, _ = mustRender(t, tmpl, sdk.Snapshot{}); got == want {
				return n
			}
		case <-deadline:
			t.Fatalf("never became %q; the last was %q", want, got)
		}
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	save(t, path+".tmp", text)
	must(t, os.Rename(path+".tmp", path))
}

func link(t *testing.T, target, path string) {
	t.Helper()
	must(t, os.Symlink(target, path+".new"), os.Rename(path+".new", path))
}

func TestWatch_WithoutEvents(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"main": "old"}), "main")
	synctest.Test(t, func(t *testing.T) {
		set := New(Config{Path: path})
		mustLoad(t, set)
		changes := startWatch(t, set, filewatch.Watcher{PollOnly: true})
		for _, text := range []string{"old", "new", "newer"} {
			synctest.Wait() // until the watcher has read what is there
			reported := len(changes)
			replace(t, path, text)
			time.Sleep(10 * filewatch.DefaultPoll)
			if text == "old" && len(changes) != 0 || text != "old" && len(changes) != reported+1 {
				t.Errorf("%s: %d changes after %d", text, len(changes), reported)
			}
		}
	})
}

func TestWatch_EveryFileOfTheSet(t *testing.T) {
	dir := write(t, map[string]string{
		"main/m": `{{ include "p" . }}`, "map/m": "x", "parts/1.tmpl": `{{ define "p" }}one{{ end }}`,
	})
	set := New(Config{
		Path: dir + "/main/m", Files: map[string]string{"map": dir + "/map/m"},
		Partials: []string{dir + "/parts/*.tmpl", dir + "/later/*/x.tmpl"},
	})
	mustLoad(t, set)
	changes := startWatch(t, set, filewatch.Watcher{Poll: never})

	save(t, dir+"/parts/1.tmpl", `{{ define "p" }}two{{ end }}`)
	await(t, set, changes, "two")
	replace(t, dir+"/parts/2.tmpl", `{{ define "q" }}three{{ end }}`)
	<-changes
	replace(t, dir+"/parts/1.tmpl", `{{ define "p" }}{{ include "q" . }}{{ end }}`)
	await(t, set, changes, "three")
	must(t, os.Remove(dir+"/parts/1.tmpl"))
	replace(t, dir+"/parts/2.tmpl", `{{ define "p" }}four{{ end }}`)
	await(t, set, changes, "four")
	replace(t, dir+"/map/m", "y")
	await(t, set, changes, "four")
}

func TestWatch_NamesChangedFile(t *testing.T) {
	dir := write(t, map[string]string{"main": "a", "map": "b", "parts/1.tmpl": "c"})
	set := New(Config{
		Path: dir + "/main", Files: map[string]string{"map": dir + "/map"}, Partials: []string{dir + "/parts/*.tmpl"},
	})
	mustLoad(t, set)
	changed := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { set.watch(ctx, filewatch.Watcher{Poll: never}, func(path string) { changed <- path }) })
	defer wg.Wait()
	defer cancel()
	for _, path := range []string{"/map", "/parts/1.tmpl", "/parts/2.tmpl", "/main"} {
		replace(t, dir+path, "new")
		if got := <-changed; got != dir+path {
			t.Errorf("%s was reported, not %s", got, path)
		}
	}
	must(t, os.Remove(dir+"/parts/1.tmpl"))
	if got := <-changed; got != dir+"/parts/1.tmpl" {
		t.Errorf("%s was reported for a file that was removed", got)
	}
}

func TestWatch_ReportsEachChangeOnce(t *testing.T) {
	dir := write(t, map[string]string{"main": "old", "unrelated": "x"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := startWatch(t, set, filewatch.Watcher{Poll: never})
	save(t, dir+"/unrelated", "y")
	must(t, os.Remove(dir+"/unrelated"))
	replace(t, dir+"/main", "old")
	must(t, os.Chtimes(dir+"/main", noon, noon))
	replace(t, dir+"/main", "new")
	reported := await(t, set, changes, "new")
	replace(t, dir+"/main", "newer")
	reported += await(t, set, changes, "newer")
	if reported += len(changes); reported != 2 {
		t.Errorf("%d changes were reported, want 2", reported)
	}
}

func TestWatch_Removal(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := startWatch(t, set, filewatch.Watcher{Poll: never})
	must(t, os.Remove(dir+"/main"))
	<-changes
	if _, err := set.Load(); err == nil {
		t.Error("loaded a file that is gone")
	}
	save(t, dir+"/main", "old")
	await(t, set, changes, "old")
}

func TestWatch_EditBetweenLoadAndWatch(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	save(t, dir+"/main", "new")
	await(t, set, startWatch(t, set, filewatch.Watcher{Poll: never}), "new")
}

func TestWatch_Builtin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := New(Config{}).Watch(ctx, func(string) { t.Error("changed") }); err != nil || ctx.Err() == nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
	})
}

func TestWatch_EndsWithContext(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	ctx, cancel := context.WithCancel(t.Context())
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	ended := make(chan error)
	changed := make(chan struct{}, 10)
	go func() { ended <- set.Watch(ctx, func(string) { changed <- struct{}{} }) }()
	save(t, dir+"/main", "new")
	<-changed
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
