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
func (env *testEnv) useSmallDisk() string {
	env.t.Helper()
	disk := env.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		env.t.Fatal(err)
	}
	env.t.Cleanup(mounttest.Disk(env.t, disk, "256k"))
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), env.path("haproxy.cfg"), env.path("disk/haproxy.cfg"), 1))
	env.config = "disk/haproxy.cfg"
	return disk
}

// fill leaves no space on the disk.
func fillDisk(t *testing.T, disk string) {
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

func freeDisk(t *testing.T, disk string) {
	t.Helper()
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
}

// remount waits for a moment in which nobody writes.
func remountTmpfs(t *testing.T, disk, how string) {
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
	name, message  string
	inject, repair func(t *testing.T, disk string)
}

func TestDisk_FullOrReadOnly(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	for _, fault := range []diskFault{
		{"full", "no space left", fillDisk, freeDisk},
		{
			"read-only", "read-only",
			func(t *testing.T, disk string) { t.Helper(); remountTmpfs(t, disk, "ro") },
			func(t *testing.T, disk string) { t.Helper(); remountTmpfs(t, disk, "rw") },
		},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t, `reload_interval = "0s"`)
			disk := env.useSmallDisk()
			env.startInstance("web", "a", 8000)
			env.start()
			env.waitInSync()
			load := env.startLoad(8000)
			fault.testRuntimeChange(t, env, disk)
			fault.testReload(t, env, disk)
			load.wantNoFailures(t)
		})
	}
}

// duringAChangeAtRunTime wants the change to go live all the same, and the file to follow when it can.
func (f diskFault) testRuntimeChange(t *testing.T, env *testEnv, disk string) {
	t.Helper()
	before := env.read(env.config)
	f.inject(t, disk)
	env.startInstance("web", "b", 8000)
	env.wantServers(env.waitApplied())
	env.waitAnswer(8000, "b")
	env.waitProblem("is not persisted", f.message)
	env.waitLogged("cannot persist what HAProxy runs")
	if env.read(env.config) != before {
		t.Errorf("on disk is\n%s", env.read(env.config))
	}
	f.repair(t, disk)
	env.waitInSync()
	env.eventually("healthy again", env.healthy)
}

// duringAReload wants all to stay as it is until there is space for what is new.
func (f diskFault) testReload(t *testing.T, env *testEnv, disk string) {
	t.Helper()
	before, worker := env.read(env.config), env.workerPID()
	f.inject(t, disk)
	env.startInstance("chat", "c", 8001) // has a port of its own
	env.waitProblem(f.message)
	env.eventually("the API tells why", func() bool {
		last := env.pipeline().Last
		return last != nil && strings.Contains(last.Error, f.message)
	})
	if env.read(env.config) != before || env.workerPID() != worker {
		t.Errorf("the worker was %d and is %d; on disk is\n%s", worker, env.workerPID(), env.read(env.config))
	}
	env.waitAnswer(8000, "a")
	f.repair(t, disk)
	env.waitInSync()
	env.waitAnswer(8001, "c")
	env.eventually("healthy again", env.healthy)
}

// complains waits until health tells all of the words.
func (env *testEnv) waitProblem(words ...string) {
	env.t.Helper()
	env.eventually("health tells: "+strings.Join(words, ", "), func() bool {
		_, said := env.health()
		for _, word := range words {
			if !strings.Contains(said, word) {
				return false
			}
		}
		return true
	})
}
