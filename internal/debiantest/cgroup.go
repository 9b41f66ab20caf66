//go:build linux

package debiantest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// newCgroup creates a cgroup for a machine. Machines that run at the same time in one cgroup would take each other's processes for
// processes of their own services.
func newCgroup() (string, error) {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified" // beside version 1
	}
	return os.MkdirTemp(root, "debiantest-")
}

// removeCgroup removes a cgroup without processes, and those below it.
func removeCgroup(cgroup string) error {
	var dirs []string
	err := filepath.WalkDir(cgroup, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
