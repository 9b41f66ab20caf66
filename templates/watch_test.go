package templates

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// never is a poll that does not come: what a test sees then, it sees by events.
const never = time.Hour

// must are steps of which none may fail.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// start watches set with w and returns where changes are told.
func start(t *testing.T, set *Set, w *watcher) <-chan struct{} {
	t.Helper()
	changes := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { set.watch(ctx, w, func() { changes <- struct{}{} }) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		w.close()
	})
	return changes
}

// await loads the set at every change, until it renders to want. It returns how many changes that took.
func await(t *testing.T, set *Set, changes <-chan struct{}, want string) int {
	t.Helper()
	deadline := time.After(20 * time.Second)
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

func TestWatchWaysOfSaving(t *testing.T) {
	tests := map[string]struct {
		path    string                         // of the main file
		prepare func(t *testing.T, dir string) // makes it say "old"
		save    func(t *testing.T, dir string) // makes it say "new"
	}{
		"in place": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) { save(t, dir+"/t/main", "new") },
		},
		"by rename": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) { replace(t, dir+"/t/main", "new") },
		},
		"as vim does with backupcopy=yes": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/main~", "old")
				save(t, dir+"/t/main", "new")
				must(t, os.Remove(dir+"/t/main~"))
			},
		},
		"as sed does": { // and others that write elsewhere and move
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/elsewhere/sedXYZ", "new")
				must(t, os.Rename(dir+"/elsewhere/sedXYZ", dir+"/t/main"))
			},
		},
		"as vim does with backupcopy=no": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/4913", "")
				must(t, os.Remove(dir+"/t/4913"), os.Rename(dir+"/t/main", dir+"/t/main~"))
				save(t, dir+"/t/main", "new")
				must(t, os.Remove(dir+"/t/main~"))
			},
		},
		"in pieces": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				f, err := os.Create(dir + "/t/main")
				must(t, err)
				for _, piece := range []string{"{{ ", `"n`, `ew`, `" }}`} {
					_, err := f.WriteString(piece)
					must(t, err, f.Sync())
				}
				must(t, f.Close())
			},
		},
		"another link": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/1", "old")
				save(t, dir+"/t/2", "new")
				link(t, "1", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) { link(t, "2", dir+"/t/main") },
		},
		"behind a link": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/elsewhere/deep/file", "old")
				must(t, os.Mkdir(dir+"/t", 0o755))
				link(t, "../elsewhere/deep/file", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) { replace(t, dir+"/elsewhere/deep/file", "new") },
		},
		"as Kubernetes does": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/..1/main", "old")
				link(t, "..1", dir+"/t/..data")
				link(t, "..data/main", dir+"/t/main")
			},
			save: func(t *testing.T, dir string) {
				save(t, dir+"/t/..2/main", "new")
				link(t, "..2", dir+"/t/..data")
				must(t, os.RemoveAll(dir+"/t/..1"))
			},
		},
		"a link above": {
			path: "current/etc/conf/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/1/etc/conf/main", "old")
				save(t, dir+"/2/etc/conf/main", "new")
				link(t, dir+"/1", dir+"/current")
			},
			save: func(t *testing.T, dir string) { link(t, dir+"/2", dir+"/current") },
		},
		"folder made again": {
			path: "t/main", prepare: func(t *testing.T, dir string) { save(t, dir+"/t/main", "old") },
			save: func(t *testing.T, dir string) {
				must(t, os.RemoveAll(dir+"/t"), os.Mkdir(dir+"/t", 0o755))
				save(t, dir+"/t/main", "new")
			},
		},
		"folder replaced": {
			path: "t/main",
			prepare: func(t *testing.T, dir string) {
				save(t, dir+"/t/main", "old")
				save(t, dir+"/t2/main", "new")
			},
			save: func(t *testing.T, dir string) {
				must(t, os.Rename(dir+"/t", dir+"/t1"), os.Rename(dir+"/t2", dir+"/t"))
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			set := New(Config{Path: filepath.Join(dir, tt.path)})
			mustLoad(t, set)
			changes := start(t, set, newWatcher(never))
			tt.save(t, dir)
			await(t, set, changes, "new")
			// What came after the first change is still watched.
			replace(t, filepath.Join(dir, tt.path), "newer")
			await(t, set, changes, "newer")
			save(t, filepath.Join(dir, tt.path), "newest")
			await(t, set, changes, "newest")
		})
	}
}

func TestWatchWithoutEvents(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"main": "old"}), "main")
	synctest.Test(t, func(t *testing.T) {
		set := New(Config{Path: path})
		mustLoad(t, set)
		changes := start(t, set, &watcher{poll: time.NewTicker(pollEvery)})
		for _, text := range []string{"old", "new", "newer"} {
			synctest.Wait() // until the watcher has read what is there
			told := len(changes)
			replace(t, path, text)
			time.Sleep(10 * pollEvery)
			if text == "old" && len(changes) != 0 || text != "old" && len(changes) != told+1 {
				t.Errorf("%s: %d changes after %d", text, len(changes), told)
			}
		}
	})
}

func TestWatchWholeSet(t *testing.T) {
	dir := write(t, map[string]string{
		"main/m": `{{ include "p" . }}`, "map/m": "x", "parts/1.tmpl": `{{ define "p" }}one{{ end }}`,
	})
	set := New(Config{
		Path: dir + "/main/m", Files: map[string]string{"map": dir + "/map/m"},
		Partials: []string{dir + "/parts/*.tmpl", dir + "/later/*/x.tmpl"},
	})
	mustLoad(t, set)
	changes := start(t, set, newWatcher(never))

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

// A Kubernetes ConfigMap has all files of a set in it, and swaps them at once.
func TestWatchConfigMapOfAWholeSet(t *testing.T) {
	dir := t.TempDir()
	version := func(n, word string) {
		save(t, dir+"/t/.."+n+"/main", `{{ include "p" . }}`)
		save(t, dir+"/t/.."+n+"/routes", word)
		save(t, dir+"/t/.."+n+"/1.tmpl", `{{ define "p" }}`+word+`{{ end }}`)
	}
	version("1", "one")
	version("2", "two")
	link(t, "..1", dir+"/t/..data")
	for _, name := range []string{"main", "routes", "1.tmpl"} {
		link(t, "..data/"+name, dir+"/t/"+name)
	}
	set := New(Config{
		Path: dir + "/t/main", Files: map[string]string{"routes.map": dir + "/t/routes"}, Partials: []string{dir + "/t/*.tmpl"},
	})
	mustLoad(t, set)
	changes := start(t, set, newWatcher(never))
	link(t, "..2", dir+"/t/..data")
	must(t, os.RemoveAll(dir+"/t/..1"))
	await(t, set, changes, "two")
	files, _, err := mustLoad(t, set).Render(t.Context(), sdk.Snapshot{})
	if err != nil || string(files[1].Content) != "two" {
		t.Errorf("%v, %v", files, err)
	}
}

// Whoever truncates and then writes slowly is seen at work: what is there meanwhile is no template, and the end is told.
func TestWatchSlowWriter(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := start(t, set, newWatcher(never))
	f, err := os.Create(dir + "/main")
	must(t, err)
	for _, piece := range []string{"", "\n", "{{ if .User }}x{{ else }}", "ne"} {
		_, err := f.WriteString(piece)
		must(t, err, f.Sync())
		if piece != "" || len(changes) == 0 {
			<-changes // each piece is the last one for as long as the watcher can tell
		}
		if tmpl, err := set.Load(); err == nil {
			t.Errorf("%q behind the others makes a template: %v", piece, tmpl)
		}
	}
	_, err = f.WriteString("w{{ end }}")
	must(t, err, f.Close())
	await(t, set, changes, "\nnew")
}

// A folder that goes away takes nothing with it for good.
func TestWatchFolderThatComesBack(t *testing.T) {
	for name, goes := range map[string]string{"alone": "/parent/t", "with its parent": "/parent"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			save(t, dir+"/parent/t/main", "old")
			set := New(Config{Path: dir + "/parent/t/main", Partials: []string{dir + "/parent/t/*.tmpl"}})
			mustLoad(t, set)
			changes := start(t, set, newWatcher(never))
			must(t, os.RemoveAll(dir+goes))
			<-changes
			if _, err := set.Load(); err == nil {
				t.Error("loaded a file that is gone")
			}
			save(t, dir+"/new/parent/t/main", "new")
			must(t, os.Rename(dir+"/new"+goes, dir+goes))
			await(t, set, changes, "new")
			replace(t, dir+"/parent/t/main", "newer")
			await(t, set, changes, "newer")
		})
	}
}

// Changes are told once, and nothing else is told.
func TestWatchTellsOnlyChanges(t *testing.T) {
	dir := write(t, map[string]string{"main": "old", "unrelated": "x"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := start(t, set, newWatcher(never))
	save(t, dir+"/unrelated", "y")
	must(t, os.Remove(dir+"/unrelated"))
	replace(t, dir+"/main", "old")
	must(t, os.Chtimes(dir+"/main", noon, noon))
	replace(t, dir+"/main", "new")
	told := await(t, set, changes, "new")
	replace(t, dir+"/main", "newer")
	told += await(t, set, changes, "newer")
	if told += len(changes); told != 2 {
		t.Errorf("%d changes were told, want 2", told)
	}
}

func TestWatchTellsRemoval(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	changes := start(t, set, newWatcher(never))
	must(t, os.Remove(dir+"/main"))
	<-changes
	if _, err := set.Load(); err == nil {
		t.Error("loaded a file that is gone")
	}
	save(t, dir+"/main", "old")
	await(t, set, changes, "old")
}

// An edit between Load and Watch is told.
func TestWatchCountsFromLoad(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	save(t, dir+"/main", "new")
	await(t, set, start(t, set, newWatcher(never)), "new")
}

func TestWatchBuiltin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := New(Config{}).Watch(ctx, func() { t.Error("changed") }); err != nil || ctx.Err() == nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
	})
}

func TestWatchEnds(t *testing.T) {
	dir := write(t, map[string]string{"main": "old"})
	ctx, cancel := context.WithCancel(t.Context())
	set := New(Config{Path: dir + "/main"})
	mustLoad(t, set)
	ended := make(chan error)
	changed := make(chan struct{}, 10)
	go func() { ended <- set.Watch(ctx, func() { changed <- struct{}{} }) }()
	save(t, dir+"/main", "new")
	<-changed
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSettle(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string]struct {
		events []time.Duration // after the first one
		want   time.Duration
	}{
		"one event":        {nil, quiet},
		"a few":            {[]time.Duration{10 * ms, 30 * ms}, 30*ms + quiet},
		"then later":       {[]time.Duration{10 * ms, 60 * ms}, 10*ms + quiet},
		"without an end":   {[]time.Duration{20 * ms, 40 * ms, 60 * ms, 80 * ms, 95 * ms, 110 * ms}, impatient},
		"of somebody else": {[]time.Duration{-10 * ms, -20 * ms}, quiet},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan fsnotify.Event)
				w := &watcher{events: events, poll: time.NewTicker(never), names: places{"/t": {"main": true}}}
				defer w.close()
				began := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					send := func(name string) {
						select {
						case events <- fsnotify.Event{Name: name, Op: fsnotify.Write}:
						case <-ctx.Done():
						}
					}
					send("/t/main")
					for _, at := range tt.events {
						time.Sleep(max(at, -at) - time.Since(began))
						if at < 0 {
							send("/t/other")
						} else {
							send("/t/main")
						}
					}
				})
				if !w.wait(ctx) || time.Since(began) != tt.want {
					t.Errorf("after %v, want %v", time.Since(began), tt.want)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}
