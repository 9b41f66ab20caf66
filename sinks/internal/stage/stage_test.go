package stage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantFiles checks that the directory has exactly these files, as NAME=CONTENT.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var got []string
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		check(t, err)
		got = append(got, e.Name()+"="+string(content))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("in the directory are %q, want %q", got, want)
	}
}

func stageFiles(t *testing.T, files ...File) *Stage {
	t.Helper()
	s, err := New("owner", files, 0)
	check(t, err)
	t.Cleanup(s.Discard)
	return s
}

func TestCommitAndRestore(t *testing.T) {
	dir := t.TempDir()
	old, added := filepath.Join(dir, "main"), filepath.Join(dir, "added")
	check(t, os.WriteFile(old, []byte("old"), 0o640))
	s := stageFiles(t, File{Path: old, Content: []byte("new")}, File{Path: added, Content: []byte("new too")})
	check(t, s.Commit())
	if info, err := os.Stat(old); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
	check(t, s.Restore())
	s.Discard()
	wantFiles(t, dir, "main=old")

	s = stageFiles(t, File{Path: old, Content: []byte("new")}, File{Path: added, Content: []byte("new too")})
	check(t, s.Commit())
	s.Discard()
	wantFiles(t, dir, "added=new too", "main=new")
}

func TestCommit_PartialFailure(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "b"), []byte("old"), 0o600))
	s := stageFiles(t, File{Path: filepath.Join(dir, "a")}, File{Path: filepath.Join(dir, "b"), Content: []byte("new")})
	check(t, os.Remove(s.files[0].pending.Name())) // as a clean-up script might
	if err := s.Commit(); err == nil || !strings.Contains(err.Error(), "cannot replace "+filepath.Join(dir, "a")) {
		t.Errorf("a commit that cannot be done: %v", err)
	}
	s.Discard()
	wantFiles(t, dir, "b=old")
}

func TestNew_FailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := New("owner", []File{{Path: filepath.Join(dir, "a")}, {Path: filepath.Join(dir, "not", "there")}}, 0)
	if !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), ".there") {
		t.Errorf("staging into a missing directory: %v", err)
	}
	wantFiles(t, dir)
}

func TestChecked_RefersToStagedFiles(t *testing.T) {
	dir := t.TempDir()
	main, routes := filepath.Join(dir, "main"), filepath.Join(dir, "routes.map")
	config := "map(" + routes + ") " + routes + ".old bare routes.map\n"
	for _, test := range []struct{ config, want string }{
		{config, "map(STAGED) " + routes + ".old bare routes.map\n"},
		{"default-path config\n" + config, "default-path config\nmap(STAGED) " + routes + ".old bare BASE\n"},
	} {
		s := stageFiles(t, File{Path: main, Content: []byte(test.config)}, File{Path: routes, Content: []byte("a b\n")})
		name := s.files[1].pending.Name()
		want := strings.NewReplacer("STAGED", name, "BASE", filepath.Base(name)).Replace(test.want)
		got, err := os.ReadFile(s.Checked())
		check(t, err)
		if string(got) != want {
			t.Errorf("to be checked is\n%s\nwant\n%s", got, want)
		}
		said := "in " + s.Checked() + " and " + name + " and " + filepath.Base(name)
		if got := s.Original(said); got != "in "+main+" and "+routes+" and routes.map" {
			t.Errorf("%q became %q", said, got)
		}
		s.Discard()
	}
	wantFiles(t, dir)
}

func TestPlace(t *testing.T) {
	doc := sdk.Document{Files: []sdk.File{{Name: "whatever", Content: []byte("m")}, {Name: "a.map", Content: []byte("a")}}}
	files, err := Place("/etc/lb/main", doc)
	check(t, err)
	if len(files) != 2 || files[0].Path != "/etc/lb/main" || files[1].Path != "/etc/lb/a.map" ||
		files[0].Name != "whatever" || files[1].Name != "a.map" {
		t.Errorf("placed at %+v", files)
	}
	if _, err := Place("/etc/lb/main", doc, "/etc/lb/a.map"); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a name that is taken: %v", err)
	}
}

func FuzzPlace(f *testing.F) {
	for _, name := range []string{"a.map", "../a", "/a", ".a", "", "a/b", "main", "/", "a\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		files, err := Place("/etc/lb/main", sdk.Document{Files: []sdk.File{{}, {Name: name}}})
		if err == nil && (filepath.Dir(files[1].Path) != "/etc/lb" || files[1].Path == "/etc/lb/main") {
			t.Errorf("%q goes to %s", name, files[1].Path)
		}
	})
}

func TestReplacePath(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"/a/b", "NEW"},
		{"/a/b /a/b", "NEW NEW"},
		{"/a/b/a/b", "/a/b/a/b"},
		{"x/a/b '/a/b'", "x/a/b 'NEW'"},
		{"/a/bc /a/b.c /a/b-c /a/b_c /a/b/c", "/a/bc /a/b.c /a/b-c /a/b_c /a/b/c"},
	} {
		if got := ReplacePath(test.text, "/a/b", "NEW"); got != test.want {
			t.Errorf("%q became %q, want %q", test.text, got, test.want)
		}
	}
}
