package replace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	check(t, err)
	if string(got) != want {
		t.Errorf("in %s is %q, want %q", path, got, want)
	}
}

// wantNames checks that the directory has exactly these entries.
func wantNames(t *testing.T, directory string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	check(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("in the directory are %q, want %q", got, want)
	}
}

// privateTemp sets a directory for temporary files, and checks that it is empty at the end of the test.
func privateTemp(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	t.Setenv("TMPDIR", directory)
	t.Cleanup(func() { wantNames(t, directory) })
	return directory
}

func newFile(t *testing.T, path, content string, o Options) *File {
	t.Helper()
	f, err := New(path, []byte(content), o)
	check(t, err)
	t.Cleanup(f.Discard)
	return f
}

func TestFile_CommitRestore(t *testing.T) {
	dir := t.TempDir()
	there, missing := filepath.Join(dir, "there"), filepath.Join(dir, "missing")
	check(t, os.WriteFile(there, []byte("old"), 0o640))
	for _, path := range []string{there, missing} {
		f := newFile(t, path, "new", Options{New: 0o604})
		check(t, f.Commit())
		check(t, f.Sync())
		wantContent(t, path, "new")
		check(t, f.Restore())
		f.Discard()
	}
	wantNames(t, dir, "there")
	wantContent(t, there, "old")
	for path, mode := range map[string]fs.FileMode{there: 0o640, missing: 0o604} {
		check(t, Write(path, []byte("new"), Options{New: 0o604}))
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the mode of %s is %v, %v, want %v", path, info.Mode(), err, mode)
		}
	}
	check(t, Write(there, []byte("new"), Options{Mode: 0o600}))
	if info, err := os.Stat(there); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	wantNames(t, dir, "missing", "there")
}

func TestWrite_SymbolicLink(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "real", "deep"), 0o755))
	check(t, os.Symlink("real/deep", filepath.Join(dir, "directory")))
	write(t, filepath.Join(dir, "real", "file"), "old")
	for link, test := range map[string]struct{ leads, target string }{
		"absolute":         {filepath.Join(dir, "real", "file"), "real/file"},
		"chain":            {"absolute", "real/file"},
		"dangling":         {"real/missing", "real/missing"},
		"dangling2":        {"dangling3", "real/missing3"},
		"dangling3":        {"real/missing3", "real/missing3"},
		"directory/parent": {"../up", "real/up"},
	} {
		check(t, os.Symlink(test.leads, filepath.Join(dir, link)))
		defer func() {
			wantContent(t, filepath.Join(dir, test.target), "new")
			if leads, err := os.Readlink(filepath.Join(dir, link)); err != nil || leads != test.leads {
				t.Errorf("%s leads to %q, %v", link, leads, err)
			}
		}()
	}
	for _, link := range []string{"chain", "dangling", "dangling2", "directory/parent"} {
		check(t, Write(filepath.Join(dir, link), []byte("new"), Options{}))
	}
	wantNames(t, filepath.Join(dir, "real"), "deep", "file", "missing", "missing3", "up")
}

func TestNew_CannotBeReplaced(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Symlink("loop2", filepath.Join(dir, "loop1")))
	check(t, os.Symlink("loop1", filepath.Join(dir, "loop2")))
	check(t, os.Mkdir(filepath.Join(dir, "directory"), 0o755))
	check(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for name, want := range map[string]error{"loop1": syscall.ELOOP, "directory": nil, "pipe": nil, "no/file": fs.ErrNotExist} {
		_, err := New(filepath.Join(dir, name), nil, Options{})
		if err == nil || want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), mark("")) {
			t.Errorf("replacing %s: %v", name, err)
		}
	}
	wantNames(t, dir, "directory", "loop1", "loop2", "pipe")
}

func TestNew_CheckNeedsNoDirectory(t *testing.T) {
	temp := privateTemp(t)
	f := newFile(t, filepath.Join(t.TempDir(), "missing", "file"), "new", Options{Check: true})
	wantContent(t, f.Name(), "new")
	if !strings.HasPrefix(f.Name(), temp) {
		t.Errorf("it is at %s", f.Name())
	}
	f.Discard()
}

func TestRemoveTemporary(t *testing.T) {
	temp := privateTemp(t)
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "link")
	write(t, path, "old")
	check(t, os.Symlink(path, link))
	// The files are left as by a process that was killed.
	for _, o := range []Options{{Owner: "me"}, {Owner: "another"}} {
		f, err := New(link, []byte("new"), o)
		check(t, err)
		check(t, f.backUp())
		_, err = MakeDirectory(o.Owner)
		check(t, err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 200))
	_, err := New(long, nil, Options{Owner: "me"})
	check(t, err)
	write(t, filepath.Join(dir, ".file.swp"), "")
	RemoveTemporary("me", link, filepath.Join(dir, "no", "directory"))
	left, err := os.ReadDir(dir)
	check(t, err)
	if len(left) != 4 { // two of the other owner, its backup, and one of an editor
		t.Errorf("left are %q", left)
	}
	directories, err := os.ReadDir(temp)
	check(t, err)
	if len(directories) != 1 {
		t.Errorf("left are %q", directories)
	}
	RemoveTemporary("another", path)
	wantNames(t, dir, ".file.swp", "file")
}

// Files of a check that was killed are removed, and those of a running one are kept.
func TestRemoveTemporary_OfChecks(t *testing.T) {
	temp := privateTemp(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	write(t, path, "old")
	file, err := New(path, []byte("new"), Options{Owner: "me", Check: true})
	check(t, err)
	directory, err := New(filepath.Join(dir, "no", "directory"), nil, Options{Owner: "me", Check: true})
	check(t, err)
	RemoveTemporary("me", path)
	wantNames(t, dir, filepath.Base(file.Name()), "file")
	wantNames(t, temp, filepath.Base(filepath.Dir(directory.Name())))
	for _, name := range []string{file.Name(), filepath.Dir(directory.Name())} {
		check(t, os.Chtimes(name, time.Time{}, time.Now().Add(-2*checkAge)))
	}
	RemoveTemporary("me", path)
	wantNames(t, dir, "file")
	wantNames(t, temp)
}

func TestRemove_MissingFile(t *testing.T) {
	dir := t.TempDir()
	check(t, Remove(filepath.Join(dir, "file")))
	write(t, filepath.Join(dir, "file"), "x")
	check(t, Remove(filepath.Join(dir, "file")))
	wantNames(t, dir)
}
