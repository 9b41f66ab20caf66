package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/templates"
)

// strictHAProxy returns the path of a HAProxy that treats warnings as errors, when it checks and when it starts.
func strictHAProxy(t *testing.T) string {
	t.Helper()
	needHAProxy(t)
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "haproxy")
	writeProgram(t, path, fmt.Sprintf("#!/bin/sh\nexec %q -dW \"$@\"\n", program))
	return path
}

// withStrictHAProxy returns an environment in which that HAProxy is first in PATH.
func withStrictHAProxy(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "PATH="+filepath.Dir(strictHAProxy(t))+":"+os.Getenv("PATH"))
}

// HAProxy starts and reloads the built-in template's document without a warning, with the base file and arguments of the sink.
func TestBuiltinTemplate_NoHAProxyWarnings(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{
		"defaults":       nil,
		"without master": {`mode = "command"`},
		"with a user":    {`user = "root"`, `group = "root"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnvWith(t, strictHAProxy(t), settings...)
			env.startInstance("web", "a", 8000)
			env.start()
			env.waitAnswer(8000, "a")
			env.startInstance("api", "b", 8001)
			env.waitAnswer(8001, "b")
			env.waitApplied() // a reload is counted after HAProxy answers
			if env.fact("reloads") != 1 {
				t.Errorf("%d reloads, want one for the new service", env.fact("reloads"))
			}
			env.eventually("healthy", env.healthy)
		})
	}
}

// The built-in template of older versions gave the frontend and the backend of a port the same name. An upgrade of the daemon
// reloads HAProxy once. No request is lost, and the names of backends and servers stay the same.
func TestUpgrade_BuiltinTemplateRenamesFrontends(t *testing.T) {
	t.Parallel()
	before := strings.Replace(string(templates.Builtin()), "frontend {{ $section }}-in", "frontend {{ $section }}", 1)
	if before == string(templates.Builtin()) {
		t.Fatal("the built-in template does not name its frontends as expected")
	}
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", before)
	env.startInstance("web", "a", 8000)
	env.startInstance("api", "b", 8001)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitAnswer(8001, "b")
	master, worker, servers := env.masterPID(), env.workerPID(), env.servers()
	load, kept := env.startLoad(8000), env.startKeepAliveLoad(8001)

	env.stop()
	env.write("haproxy.tmpl", string(templates.Builtin()))
	env.start()
	env.eventually("the frontends have their new names", func() bool {
		return env.healthy() && strings.Contains(env.read("haproxy.cfg"), "frontend web-8000-in\n")
	})
	env.startInstance("web", "c", 8000)
	env.waitAnswer(8000, "c")
	load.wantNoFailures(t)
	kept.wantNoFailures(t)
	if env.masterPID() != master || env.workerPID() == worker || env.fact("reloads") != 1 {
		t.Errorf("master %d and worker %d became %d and %d in %d reloads, want one new worker in one reload",
			master, worker, env.masterPID(), env.workerPID(), env.fact("reloads"))
	}
	now := env.servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if _, there := now[name]; !there {
			t.Errorf("server %s is gone", name)
		}
	}
	if len(now) != len(servers)+1 {
		t.Errorf("the servers %v became %v, want one more", servers, now)
	}
}
