package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

// onDisk moves the configuration file to a small disk of its own. The test begins with mounttest.Run.
func (s *site) onDisk() string {
	s.t.Helper()
	disk := s.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(mounttest.Disk(s.t, disk, "256k"))
	s.write("haproxy-api.toml", strings.Replace(s.read("haproxy-api.toml"), s.path("haproxy.cfg"), s.path("disk/haproxy.cfg"), 1))
	s.config = "disk/haproxy.cfg"
	return disk
}

// fill leaves no space on the disk.
func fill(t *testing.T, disk string) {
	t.Helper()
	file, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk cannot be filled: %v", err)
	}
}

func free(t *testing.T, disk string) {
	t.Helper()
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
}

// remount waits for a moment in which nobody writes.
func remount(t *testing.T, disk, how string) {
	t.Helper()
	var said string
	for range 1000 {
		out, err := exec.Command("mount", "-o", "remount,"+how, disk).CombinedOutput()
		if err == nil {
			return
		}
		said = string(out)
	}
	t.Fatalf("cannot be remounted: %s", said)
}

// A diskFault is a way in which a disk takes nothing.
type diskFault struct {
	name, said  string
	spoil, mend func(t *testing.T, disk string)
}

func TestADiskThatTakesNothing(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	for _, fault := range []diskFault{
		{"full", "no space left", fill, free},
		{
			"read-only", "read-only",
			func(t *testing.T, disk string) { t.Helper(); remount(t, disk, "ro") },
			func(t *testing.T, disk string) { t.Helper(); remount(t, disk, "rw") },
		},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, `reload_interval = "0s"`)
			disk := s.onDisk()
			s.serve("web", "a", 8000)
			s.start()
			s.agrees()
			load := s.load(8000)
			fault.duringAChangeAtRunTime(t, s, disk)
			fault.duringAReload(t, s, disk)
			load.unharmed(t)
		})
	}
}

// duringAChangeAtRunTime wants the change to go live all the same, and the file to follow when it can.
func (f diskFault) duringAChangeAtRunTime(t *testing.T, s *site, disk string) {
	t.Helper()
	before := s.read(s.config)
	f.spoil(t, disk)
	s.serve("web", "b", 8000)
	s.runs(s.converged())
	s.answered(8000, "b")
	s.complains("is not persisted", f.said)
	s.logged("cannot persist what HAProxy runs")
	if s.read(s.config) != before {
		t.Errorf("on disk is\n%s", s.read(s.config))
	}
	f.mend(t, disk)
	s.agrees()
	s.eventually("healthy again", s.healthy)
}

// duringAReload wants all to stay as it is until there is space for what is new.
func (f diskFault) duringAReload(t *testing.T, s *site, disk string) {
	t.Helper()
	before, worker := s.read(s.config), s.workerPID()
	f.spoil(t, disk)
	s.serve("chat", "c", 8001) // has a port of its own
	s.complains(f.said)
	s.eventually("the API tells why", func() bool {
		last := s.pipeline().Last
		return last != nil && strings.Contains(last.Error, f.said)
	})
	if s.read(s.config) != before || s.workerPID() != worker {
		t.Errorf("the worker was %d and is %d; on disk is\n%s", worker, s.workerPID(), s.read(s.config))
	}
	s.answered(8000, "a")
	f.mend(t, disk)
	s.agrees()
	s.answered(8001, "c")
	s.eventually("healthy again", s.healthy)
}

// complains waits until health tells all of the words.
func (s *site) complains(words ...string) {
	s.t.Helper()
	s.eventually("health tells: "+strings.Join(words, ", "), func() bool {
		_, said := s.health()
		for _, word := range words {
			if !strings.Contains(said, word) {
				return false
			}
		}
		return true
	})
}
