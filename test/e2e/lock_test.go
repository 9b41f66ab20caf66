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

// rival runs a second daemon with the site's configuration on a port of its own until it ends by itself, and returns
// its exit code and what it said.
func (s *site) rival(args ...string) (int, string) {
	s.t.Helper()
	args = append([]string{"-f", s.path("haproxy-api.toml"), "--set", "haproxy_api.bind_port=0"}, args...)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "haproxy-api", args...).CombinedOutput()
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return ended.ExitCode(), string(out)
}

func TestASecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	plugin, worker := s.pluginPID(), s.workerPID()

	link := s.path("link")
	if err := os.Symlink(s.folder, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.path("haproxy.cfg"), filepath.Join(link, "haproxy.cfg")} {
		code, said := s.rival("--set", "haproxy.config_file="+path)
		want := fmt.Sprintf("%s is managed by another haproxy-api (process %d)", path, s.cmd.Process.Pid)
		if code != 1 || !strings.Contains(said, want) || !strings.Contains(said, "config_file") {
			t.Errorf("exit code %d, said\n%s\nwant\n%s", code, said, want)
		}
	}
	if s.pluginPID() != plugin || s.workerPID() != worker {
		t.Errorf("plugin %d is %d, worker %d is %d", plugin, s.pluginPID(), worker, s.workerPID())
	}
	s.serve("web", "b", 8000)
	s.answered(8000, "b")
	// Who only looks is not kept out.
	looking := exec.CommandContext(t.Context(), "haproxy-api", "-f", s.path("haproxy-api.toml"), "check")
	if out, err := looking.CombinedOutput(); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	}
	s.stop()
	if left, _ := filepath.Glob(s.path(".*.lock")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestADaemonMayStartAtOnceAfterOneThatWasKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	for range 5 {
		s.kill()
		s.start()
		s.eventually("healthy", s.healthy)
	}
}

func TestTwoSinksOnOneFileAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.write("twice.toml", fmt.Sprintf(`
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
`, s.ip, s.path("out"), s.path("./out")))
	code, said := s.rival("-f", s.path("twice.toml"))
	if code != 1 || !strings.Contains(said, s.path("out")+" is managed by another sink of this haproxy-api") {
		t.Errorf("exit code %d, said\n%s", code, said)
	}
	looking := exec.CommandContext(t.Context(), "haproxy-api", "-f", s.path("twice.toml"), "check")
	out, err := looking.CombinedOutput()
	if looking.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), s.path("out")) {
		t.Errorf("check: %v\n%s", err, out)
	}
}

func TestASinkWithoutALockServesAllTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := syscall.Mkdir(s.path(".haproxy.cfg.lock"), 0o700); err != nil { // which root cannot open for writing either
		t.Fatal(err)
	}
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	s.logged("cannot lock the file")
}
