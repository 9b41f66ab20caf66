package filewatch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A globsWatch collects the changes that a watch reports.
type globsWatch struct {
	t       *testing.T
	globs   *Globs
	changes chan map[string]string
}

func watchGlobs(t *testing.T, w Watcher, patterns ...string) *globsWatch {
	t.Helper()
	g := &globsWatch{t, NewGlobs(patterns, nil), make(chan map[string]string, 1000)}
	g.globs.Read()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { g.globs.watch(ctx, w, func(files map[string]string) { g.changes <- files }) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return g
}

// next waits for a change after which the files have these names.
func (g *globsWatch) next(names ...string) map[string]string {
	g.t.Helper()
	deadline := time.After(time.Minute)
	var got []string
	for {
		select {
		case files := <-g.changes:
			got = nil
			for path := range files {
				got = append(got, filepath.Base(path))
			}
			if slices.Sort(got); slices.Equal(got, names) {
				return files
			}
		case <-deadline:
			g.t.Fatalf("never %q; the last were %q", names, got)
		}
	}
}

func TestGlobs_ReportChanges(t *testing.T) {
	dir := write(t, map[string]string{"certs/a.pem": "a", "certs/.hidden": "h", "certs/directory/x.pem": "x", "b.map": "b"})
	g := watchGlobs(t, Watcher{Poll: never}, dir+"/certs", dir+"/*.map", dir+"/later/*/c.pem")
	before := g.globs.Read()
	if len(before) != 2 {
		t.Fatalf("at first there are %v", before)
	}
	replace(t, dir+"/certs/a.pem", "other")
	if now := g.next("a.pem", "b.map"); now[dir+"/certs/a.pem"] == before[dir+"/certs/a.pem"] ||
		now[dir+"/b.map"] != before[dir+"/b.map"] {
		t.Errorf("%v became %v", before, now)
	}
	must(t, os.MkdirAll(dir+"/later/site", 0o755))
	replace(t, dir+"/later/site/c.pem", "c")
	g.next("a.pem", "b.map", "c.pem")
	must(t, os.Remove(dir+"/b.map"))
	g.next("a.pem", "c.pem")
	replace(t, dir+"/b.map", "b") // a file that is not written at once is another change
	if now := g.next("a.pem", "b.map", "c.pem"); now[dir+"/b.map"] != before[dir+"/b.map"] {
		t.Error("the same content has another digest")
	}
}

// Kubernetes switches a link to a directory: the files change, and their names do not.
func TestGlobs_SwitchedLink(t *testing.T) {
	dir := write(t, map[string]string{"..1/tls.crt": "one", "..2/tls.crt": "two", "keep": ""})
	must(t, os.Symlink("..1", dir+"/..data"), os.Symlink("..data/tls.crt", dir+"/tls.crt"))
	g := watchGlobs(t, Watcher{Poll: never}, dir+"/tls.crt")
	before := g.globs.Read()
	link(t, "..2", dir+"/..data")
	if now := g.next("tls.crt"); maps.Equal(before, now) {
		t.Errorf("still %v", now)
	}
}

// A new time stamp and a file that is not watched are no changes, and a burst of writes is one.
func TestGlobs_ReportAChangeOnce(t *testing.T) {
	dir := write(t, map[string]string{"a.pem": "a", "other": "o"})
	synctest.Test(t, func(t *testing.T) {
		g := watchGlobs(t, Watcher{PollOnly: true}, dir+"/*.pem")
		synctest.Wait()
		must(t, os.Chtimes(dir+"/a.pem", time.Now(), time.Now()))
		save(t, dir+"/other", "changed")
		time.Sleep(10 * DefaultPoll)
		if len(g.changes) != 0 {
			t.Errorf("reported %v", <-g.changes)
		}
		for range 5 {
			save(t, dir+"/a.pem", strings.Repeat("b", 10))
		}
		time.Sleep(10 * DefaultPoll)
		if len(g.changes) != 1 {
			t.Errorf("reported %d times", len(g.changes))
		}
	})
}

func TestGlobs_MaxWatchedAndIgnored(t *testing.T) {
	dir := t.TempDir()
	for i := range MaxWatched + 5 {
		save(t, filepath.Join(dir, strings.Repeat("x", 1+i%200)+string(rune('a'+i/200))), "")
	}
	if n := len(NewGlobs([]string{dir + "/*", dir}, nil).Read()); n != MaxWatched {
		t.Errorf("%d files are watched", n)
	}
	if n := len(NewGlobs([]string{dir + "/*"}, func(string) bool { return true }).Read()); n != 0 {
		t.Errorf("%d files are not ignored", n)
	}
	if found := NewGlobs([]string{dir + "/nothing*"}, nil).Read(); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}
