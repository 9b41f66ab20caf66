package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// runSecondDaemon runs a second daemon with the configuration and another port until it exits, and returns its exit code and
// output. A plugin that takes seconds to start, as on an overloaded machine, does not keep a daemon from running: then another
// one is run. The exit code is -1 if none exits.
func (env *testEnv) runSecondDaemon(args ...string) (code int, output string) {
	env.t.Helper()
	args = append([]string{"-f", env.path("haproxy-api.toml"), "--set", "haproxy_api.bind_port=0"}, args...)
	code = -1
	for tries := 6; code < 0 && tries > 0; tries-- {
		ctx, cancel := context.WithTimeout(env.t.Context(), waitLimit/4)
		out, err := exec.CommandContext(ctx, "haproxy-api", args...).CombinedOutput()
		cancel()
		ended, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			env.t.Fatalf("%v\n%s", err, out)
		}
		code, output = ended.ExitCode(), string(out)
	}
	return code, output
}

func TestLock_SecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	plugin, worker := env.pluginPID(), env.workerPID()

	link := env.path("link")
	if err := os.Symlink(env.directory, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{env.path("haproxy.cfg"), filepath.Join(link, "haproxy.cfg")} {
		code, said := env.runSecondDaemon("--set", "haproxy.config_file="+path)
		want := fmt.Sprintf("%s is managed by another haproxy-api (process %d)", path, env.cmd.Process.Pid)
		if code != 1 || !strings.Contains(said, want) || !strings.Contains(said, "config_file") {
			t.Errorf("exit code %d, said\n%s\nwant\n%s", code, said, want)
		}
	}
	if env.pluginPID() != plugin || env.workerPID() != worker {
		t.Errorf("plugin %d is %d, worker %d is %d", plugin, env.pluginPID(), worker, env.workerPID())
	}
	env.startInstance("web", "b", 8000)
	env.waitAnswer(8000, "b")
	// Commands that change nothing do not need the lock.
	looking := exec.CommandContext(t.Context(), "haproxy-api", "-f", env.path("haproxy-api.toml"), "check")
	if out, err := looking.CombinedOutput(); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	}
	env.stop()
	if left, _ := filepath.Glob(env.path(".*.lock")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestLock_DaemonRestartsAfterKill(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	for range 5 {
		env.kill()
		env.start()
		env.eventually("healthy", env.healthy)
	}
}

func TestLock_TwoSinksOnOneFile(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.write("twice.toml", fmt.Sprintf(`
[haproxy_api]
bind_ip = %q
bind_port = 0
[sources.s]
type = "sidecar-push"
[sinks.a]
type = "file"
path = %q
[sinks.b]
type = "file"
path = %q
[pipelines.a]
source = "s"
sink = "a"
[pipelines.b]
source = "s"
sink = "b"
`, env.ip, env.path("out"), env.path("./out")))
	code, said := env.runSecondDaemon("-f", env.path("twice.toml"))
	if code != 1 || !strings.Contains(said, env.path("out")+" is managed by another sink of this haproxy-api") {
		t.Errorf("exit code %d, said\n%s", code, said)
	}
	looking := exec.CommandContext(t.Context(), "haproxy-api", "-f", env.path("twice.toml"), "check")
	out, err := looking.CombinedOutput()
	if looking.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), env.path("out")) {
		t.Errorf("check: %v\n%s", err, out)
	}
}

func TestLock_UnavailableLockIsNotFatal(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	if err := syscall.Mkdir(env.path(".haproxy.cfg.lock"), 0o700); err != nil { // even root cannot open it for writing
		t.Fatal(err)
	}
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitLogged("cannot lock the file")
}
