package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/trust"
)

const otherUser = 54321

// tree creates dir/inner/file with safe owners and modes.
func tree(t *testing.T) (dir, inner, file string) {
	t.Helper()
	dir = t.TempDir()
	inner = filepath.Join(dir, "inner")
	file = filepath.Join(inner, "file")
	if err := errors.Join(os.Mkdir(inner, 0o755), os.WriteFile(file, nil, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir, inner, file
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	root := os.Geteuid() == 0
	for _, test := range []struct {
		name     string
		change   func(t *testing.T, dir, inner, file string)
		trusted  bool
		rootOnly bool // only root can create it, and only as root is it checked
	}{
		{"safe", func(*testing.T, string, string, string) {}, true, false},
		{"file that everybody can write", func(t *testing.T, _, _, file string) { must(t, os.Chmod(file, 0o777)) }, false, false},
		{"file of another user", func(t *testing.T, _, _, file string) { must(t, os.Chown(file, otherUser, 0)) }, false, true},
		{"file that another group can write", func(t *testing.T, _, _, file string) {
			must(t, errors.Join(os.Chown(file, 0, otherUser), os.Chmod(file, 0o775)))
		}, false, true},
		{"file that our group can write", func(t *testing.T, _, _, file string) { must(t, os.Chmod(file, 0o775)) }, true, false},
		{"directory that everybody can write", func(t *testing.T, _, inner, _ string) {
			must(t, os.Chmod(inner, 0o777))
		}, false, true},
		{"directory of another user", func(t *testing.T, _, inner, _ string) {
			must(t, os.Chown(inner, otherUser, 0))
		}, false, true},
		{"parent directory that everybody can write", func(t *testing.T, dir, _, _ string) {
			must(t, os.Chmod(dir, 0o777))
		}, false, true},
		{"sticky directory", func(t *testing.T, dir, _, _ string) {
			must(t, os.Chmod(dir, 0o777|os.ModeSticky))
		}, true, false},
		{"own link", func(t *testing.T, dir, _, file string) {
			must(t, errors.Join(os.Rename(file, dir+"/real"), os.Symlink("../real", file)))
		}, true, false},
		{"link of another user", func(t *testing.T, dir, _, file string) {
			must(t, errors.Join(os.Rename(file, dir+"/real"), os.Symlink("../real", file), os.Lchown(file, otherUser, 0)))
		}, false, true},
		{"link to a file of another user", func(t *testing.T, dir, _, file string) {
			target := dir + "/real"
			must(t, errors.Join(os.Rename(file, target), os.Symlink("../real", file), os.Chown(target, otherUser, 0)))
		}, false, true},
		{"circular link", func(t *testing.T, _, _, file string) {
			must(t, errors.Join(os.Remove(file), os.Symlink("file", file)))
		}, false, false},
		{"missing file", func(t *testing.T, _, _, file string) { must(t, os.Remove(file)) }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.rootOnly && !root {
				return // only root can change the owner of a file
			}
			dir, inner, file := tree(t)
			test.change(t, dir, inner, file)
			if err := trust.Check(file); (err == nil) != test.trusted {
				t.Errorf("got %v", err)
			}
		})
	}
}
