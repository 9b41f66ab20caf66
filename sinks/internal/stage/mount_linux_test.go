package stage

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

func TestCommit_MountPoints(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	main, routes := filepath.Join(dir, "main"), filepath.Join(dir, "routes.map")
	check(t, os.WriteFile(main, []byte("old"), 0o644))
	check(t, os.WriteFile(routes, []byte("old routes"), 0o644))
	defer mounttest.Bind(t, main)()
	defer mounttest.Bind(t, routes)()
	files := []File{
		{Path: main, Content: []byte("new")}, {Path: routes, Content: []byte("new routes")},
		{Path: filepath.Join(dir, "added"), Content: []byte("added")},
	}
	s := stageFiles(t, files...)
	check(t, s.Commit())
	check(t, s.Restore())
	s.Discard()
	wantFiles(t, dir, "main=old", "routes.map=old routes")
	s = stageFiles(t, files...)
	check(t, s.Commit())
	s.Discard()
	wantFiles(t, dir, "added=added", "main=new", "routes.map=new routes")
}

func TestCommit_ReadOnlyDirectory(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := t.TempDir()
	main, routes := filepath.Join(dir, "main"), filepath.Join(dir, "routes.map")
	check(t, os.WriteFile(main, []byte("old"), 0o644))
	check(t, os.WriteFile(routes, []byte("old routes"), 0o644))
	defer mounttest.Bind(t, main)()
	defer mounttest.ReadOnly(t, dir)()
	config := "default-path config\nmap(routes.map)\n"
	files := []File{{Path: main, Content: []byte(config)}, {Path: routes, Content: []byte("new routes")}}
	if _, err := New("owner", files, 0); !errors.Is(err, syscall.EROFS) {
		t.Errorf("a companion that cannot be written: %v", err)
	}
	s, err := NewCheck("owner", files)
	check(t, err)
	defer s.Discard()
	got, err := os.ReadFile(s.Checked())
	check(t, err)
	if want := "default-path origin " + dir + "\nmap(" + s.files[1].pending.Name() + ")\n"; string(got) != want {
		t.Errorf("to be checked is %q, want %q", got, want)
	}
	s.Discard()
	s = stageFiles(t, files[0])
	check(t, s.Commit())
	s.Discard()
	wantFiles(t, dir, "main="+config, "routes.map=old routes")
	wantFiles(t, temp)
}

func TestWritten_RemoveMountPoint(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "routes.map")
	check(t, os.WriteFile(path, []byte("ours"), 0o644))
	w := Written{"routes.map": {Sum([]byte("ours"))}}
	readOnly := mounttest.ReadOnly(t, dir)
	if forgot, err := w.Remove(filepath.Join(dir, "main"), slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("in a read-only directory it forgot %q: %v", forgot, err)
	}
	readOnly()
	defer mounttest.Bind(t, path)()
	_, err := w.Remove(filepath.Join(dir, "main"), slog.New(slog.DiscardHandler))
	check(t, err)
	if len(w) != 0 {
		t.Errorf("remembers %v", w)
	}
	wantFiles(t, dir, "routes.map=ours")
}
