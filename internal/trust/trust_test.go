package trust_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/trust"
)

const stranger = 54321

// tree makes folder/inner/file and returns the three, all in order.
func tree(t *testing.T) (folder, inner, file string) {
	t.Helper()
	folder = t.TempDir()
	inner = filepath.Join(folder, "inner")
	file = filepath.Join(inner, "file")
	if err := errors.Join(os.Mkdir(inner, 0o755), os.WriteFile(file, nil, 0o755), os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	return folder, inner, file
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
		change   func(t *testing.T, folder, inner, file string)
		trusted  bool
		rootOnly bool // whether only root looks at it, and only root can set it up
	}{
		{"in order", func(*testing.T, string, string, string) {}, true, false},
		{"a file of everybody", func(t *testing.T, _, _, file string) { must(t, os.Chmod(file, 0o777)) }, false, false},
		{"a file of another user", func(t *testing.T, _, _, file string) { must(t, os.Chown(file, stranger, 0)) }, false, true},
		{"a file of another group", func(t *testing.T, _, _, file string) {
			must(t, errors.Join(os.Chown(file, 0, stranger), os.Chmod(file, 0o775)))
		}, false, true},
		{"a file of our group", func(t *testing.T, _, _, file string) { must(t, os.Chmod(file, 0o775)) }, true, false},
		{"a folder of everybody", func(t *testing.T, _, inner, _ string) { must(t, os.Chmod(inner, 0o777)) }, false, true},
		{"a folder of another user", func(t *testing.T, _, inner, _ string) {
			must(t, os.Chown(inner, stranger, 0))
		}, false, true},
		{"a folder above of everybody", func(t *testing.T, folder, _, _ string) {
			must(t, os.Chmod(folder, 0o777))
		}, false, true},
		{"a sticky folder", func(t *testing.T, folder, _, _ string) {
			must(t, os.Chmod(folder, 0o777|os.ModeSticky))
		}, true, false},
		{"a link of ours", func(t *testing.T, folder, _, file string) {
			must(t, errors.Join(os.Rename(file, folder+"/real"), os.Symlink("../real", file)))
		}, true, false},
		{"a link of another user", func(t *testing.T, folder, _, file string) {
			must(t, errors.Join(os.Rename(file, folder+"/real"), os.Symlink("../real", file), os.Lchown(file, stranger, 0)))
		}, false, true},
		{"a link to a file of another user", func(t *testing.T, folder, _, file string) {
			target := folder + "/real"
			must(t, errors.Join(os.Rename(file, target), os.Symlink("../real", file), os.Chown(target, stranger, 0)))
		}, false, true},
		{"a link in a circle", func(t *testing.T, _, _, file string) {
			must(t, errors.Join(os.Remove(file), os.Symlink("file", file)))
		}, false, false},
		{"nothing", func(t *testing.T, _, _, file string) { must(t, os.Remove(file)) }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.rootOnly && !root {
				return // nobody else can give files away
			}
			folder, inner, file := tree(t)
			test.change(t, folder, inner, file)
			if err := trust.Check(file); (err == nil) != test.trusted {
				t.Errorf("got %v", err)
			}
		})
	}
}
