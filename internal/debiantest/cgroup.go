//go:build linux

package debiantest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// newCgroup creates a cgroup for a machine. Machines that run at the same time in one cgroup would take each other's processes
// for processes of their own services.
func newCgroup() (string, error) {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified" // beside version 1
	}
	return os.MkdirTemp(root, "debiantest-")
}

// removeCgroup removes a cgroup and those below it. Processes that are left, because systemd-nspawn was killed, are killed.
func removeCgroup(cgroup string) error {
	if err := os.WriteFile(filepath.Join(cgroup, "cgroup.kill"), []byte("1"), 0); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		events, err := os.ReadFile(filepath.Join(cgroup, "cgroup.events"))
		if err != nil {
			return err
		}
		if strings.Contains(string(events), "populated 0\n") {
			break
		}
	}
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
