package stage

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWritten_AddAndReplace(t *testing.T) {
	file := func(name, content string) File { return File{Path: "/etc/lb/" + name, Content: []byte(content)} }
	w := Written{}
	first := []File{file("main", ""), file("a", "1"), file("b", "1")}
	if !w.Add(first) || w.Add(first) || len(w.Obsolete(first)) != 0 {
		t.Errorf("after the first: %v", w)
	}
	second := []File{file("main", ""), file("a", "2")}
	if !w.Add(second) || len(w["a"]) != 2 {
		t.Errorf("the content that a crash may leave is not known: %v", w)
	}
	obsolete := w.Replace(second)
	if len(w["a"]) != 1 || w["a"][0] != Sum([]byte("2")) || !slices.Equal(slices.Collect(maps.Keys(obsolete)), []string{"b"}) {
		t.Errorf("%v is written, of which %v is obsolete", w, obsolete)
	}
}

func TestWritten_Remove(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "haproxy.cfg")
	put := func(name, content string) {
		t.Helper()
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	w := Written{}
	for _, name := range []string{
		"gone.map", "unused.map", "edited.map", "link.map", "mentioned.map",
		"similar.map", "theirs.map", "inTheirs.map", "directory.map",
	} {
		w[name] = []string{Sum([]byte("before")), Sum([]byte("ours"))}
		put(name, "ours")
	}
	check(t, os.Remove(filepath.Join(dir, "gone.map")))
	put("edited.map", "somebody else's")
	check(t, os.Rename(filepath.Join(dir, "link.map"), filepath.Join(dir, "target.map")))
	check(t, os.Symlink("target.map", filepath.Join(dir, "link.map")))
	check(t, os.Remove(filepath.Join(dir, "directory.map")))
	check(t, os.Mkdir(filepath.Join(dir, "directory.map"), 0o755))
	put("other.cfg", "map("+dir+"/inTheirs.map)")
	put("other.cfg.applied", `{"files":{"other.cfg":"1","theirs.map":"2"}}`)
	put("damaged.cfg.applied", "{")
	put("haproxy.cfg.applied", `{"files":{"unused.map":"1"}}`) // our own

	text := []byte("use map(" + dir + "/mentioned.map) and another-similar.map or similar.map.old")
	forgot, err := w.Remove(main, slog.New(slog.DiscardHandler), text)
	check(t, err)
	if got := strings.Join(forgot, " "); got != "directory.map edited.map gone.map link.map similar.map unused.map" {
		t.Errorf("forgot %q", got)
	}
	if got := slices.Sorted(maps.Keys(w)); !slices.Equal(got, []string{"inTheirs.map", "mentioned.map", "theirs.map"}) {
		t.Errorf("remembers %q", got)
	}
	for _, name := range []string{"unused.map", "similar.map"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"edited.map", "link.map", "target.map", "mentioned.map", "theirs.map", "inTheirs.map", "directory.map",
	} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
