package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

// useSmallDisk moves the configuration file to a small file system and returns its directory. The test has to call mounttest.Run
// first.
func (env *testEnv) useSmallDisk() string {
	env.t.Helper()
	disk := env.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		env.t.Fatal(err)
	}
	env.t.Cleanup(mounttest.Disk(env.t, disk, "256k"))
	env.moveConfig("disk/haproxy.cfg")
	return disk
}

// moveConfig sets the configuration file of HAProxy.
func (env *testEnv) moveConfig(name string) {
	env.t.Helper()
	env.editConfig(fmt.Sprintf("config_file = %q", env.path(env.config)), fmt.Sprintf("config_file = %q", env.path(name)))
	env.config = name
}

// fillDisk writes a file until no space is left.
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

// remountTmpfs repeats the remount until no file is open for writing.
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

// A diskFault makes writing to a disk fail.
type diskFault struct {
	name, message  string
	inject, repair func(t *testing.T, disk string)
}

func TestDisk_FullOrReadOnly(t *testing.T) {
	t.Parallel()
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

// testRuntimeChange wants the change to be applied, and the file to be persisted after the fault.
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

// testReload wants the previous state to stay, and the new document to be applied after the fault.
func (f diskFault) testReload(t *testing.T, env *testEnv, disk string) {
	t.Helper()
	before, worker := env.read(env.config), env.workerPID()
	f.inject(t, disk)
	env.startInstance("chat", "c", 8001) // needs a reload because of its port
	env.waitProblem(f.message)
	env.eventually("the API reports the cause", func() bool {
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

// waitProblem waits until GET /health reports all of the words.
func (env *testEnv) waitProblem(words ...string) {
	env.t.Helper()
	env.eventually("health reports: "+strings.Join(words, ", "), func() bool {
		_, said := env.health()
		for _, word := range words {
			if !strings.Contains(said, word) {
				return false
			}
		}
		return true
	})
}

// The configuration file is a mount point in a read-only directory, as in a container with a read-only root file system.
func TestMount_ConfigFileInReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	if !mounttest.Run(t) {
		return
	}
	env := newTestEnv(t, `reload_interval = "0s"`)
	directory := env.path("etc")
	if err := os.Mkdir(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	env.moveConfig("etc/haproxy.cfg")
	t.Cleanup(mounttest.ReadOnly(t, directory))
	check := func() string {
		out, _ := env.command("check").CombinedOutput()
		return string(out)
	}
	if said := check(); !strings.Contains(said, "config_file") {
		t.Errorf("check accepts a read-only directory: %s", said)
	}
	if err := exec.Command("umount", directory).Run(); err != nil {
		t.Fatal(err)
	}
	env.write(env.config, "")
	t.Cleanup(mounttest.Bind(t, env.path(env.config)))
	t.Cleanup(mounttest.ReadOnly(t, directory))
	if said := check(); strings.Contains(said, "config_file") {
		t.Errorf("check rejects a writable file in a read-only directory: %s", said)
	}

	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitInSync()
	env.startInstance("web", "b", 8000) // applied at run time
	env.waitInSync()
	env.startInstance("chat", "c", 8001) // applied by a reload
	env.waitAnswer(8001, "c")
	env.waitInSync()
	env.kill()
	env.start()
	env.startInstance("chat", "d", 8001)
	env.waitInSync()
	env.eventually("healthy", env.healthy)
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory are %v, %v", entries, err)
	}
}

// A companion file that the pipeline no longer has is removed, even if the daemon was restarted in between.
func TestCompanion_ObsoleteFileIsRemoved(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.write("haproxy.tmpl", "defaults\n  mode http\n  timeout client 1m\nfrontend x\n  bind "+net.JoinHostPort(env.ip, "8000")+
		"\n  http-request return status 200 content-type text/plain string {{ .Vars.word }}\n")
	env.write("routes.tmpl", "a b\n")
	configure := func(word, files string) {
		env.write("haproxy-api.toml", fmt.Sprintf(`
[haproxy_api]
bind_ip = %q
bind_port = 7778
[sources.sidecar]
type = "sidecar-push"
state_url = %q
[sinks.edge]
type = "haproxy"
binary = "haproxy"
config_file = %q
pid_file = %q
reload_interval = "0s"
[pipelines.edge]
source = "sidecar"
sink = "edge"
template = "haproxy.tmpl"
vars = { word = %q }
files = { %s }
`, env.ip, env.sidecar.URL("/state.json"), env.path("haproxy.cfg"), env.path("haproxy.pid"), word, files))
	}
	configure("one", `"routes.map" = "routes.tmpl"`)
	env.start()
	env.waitAnswer(8000, "one")
	env.eventually("the companion is written", func() bool { return env.read("routes.map") == "a b\n" })
	env.stop()
	configure("two", "")
	env.start()
	env.waitAnswer(8000, "two")
	http.DefaultClient.CloseIdleConnections() // connections to the previous worker
	env.eventually("the companion is removed", func() bool {
		_, err := os.Stat(env.path("routes.map"))
		return os.IsNotExist(err)
	})
}
