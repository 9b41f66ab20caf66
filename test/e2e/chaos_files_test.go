package e2e_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

func init() { maps.Copy(chaosFaults, fileFaults) }

// fileFaults are faults of written files and of their directories.
var fileFaults = map[string]func(c *chaos){
	"a file becomes a mount point": func(c *chaos) {
		path := c.env.path([]string{c.env.config, c.env.config + ".applied", "haproxy.pid", "haproxy.base.cfg"}[c.rand.IntN(4)])
		if _, err := os.Stat(path); err != nil || c.mounted[path] {
			return
		}
		c.mounted[path] = true
		unmount := mounttest.Bind(c.env.t, path)
		from := time.Now()
		c.addActiveFault(func() {
			unmount()
			delete(c.mounted, path)
			// A write in place may have started a moment ago.
			c.invariants.addInPlaceWrite(from, time.Now().Add(inPlaceEnds))
		})
	},
	"the directory of the configuration is read-only": func(c *chaos) {
		if c.isFull() || !remountDisk(c.disk, syscall.MS_RDONLY) {
			return
		}
		c.addActiveFault(func() {
			if !remountDisk(c.disk, 0) {
				c.env.t.Errorf("%s cannot be made writable again", c.disk)
			}
		})
	},
}

// inPlaceEnds is how long a write in place may continue after the file is no longer a mount point.
const inPlaceEnds = 2 * time.Second

func (c *chaos) isFull() bool {
	_, err := os.Stat(c.disk + "/filler")
	return err == nil
}

// remountDisk makes the directory read-only or writable. Mounts in it stay as they are. It returns false while a file is open for
// writing.
func remountDisk(disk string, flag uintptr) bool {
	for range 100 {
		if syscall.Mount("", disk, "", syscall.MS_BIND|syscall.MS_REMOUNT|flag, "") == nil {
			return true
		}
	}
	return false
}

// checkTemporary waits until the directories of written files contain no temporary files. There are some while a change is
// written.
func (c *chaos) checkTemporary() {
	c.env.t.Helper()
	var left []string
	c.env.eventually("no temporary files are left", func() bool {
		left = nil
		for _, directory := range []string{c.disk, c.env.directory} {
			entries, err := os.ReadDir(directory)
			if err != nil {
				c.env.t.Fatal(err)
			}
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), ".tmp-") {
					left = append(left, filepath.Join(directory, e.Name()))
				}
			}
		}
		return len(left) == 0
	})
}
