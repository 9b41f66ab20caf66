package haproxy

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// The fact says whether HAProxy serves, whatever else is a problem.
func TestHealth_Up(t *testing.T) {
	t.Parallel()
	wantUp := func(t *testing.T, s *Sink, want string) {
		t.Helper()
		eventually(t, process.FactUp+" is "+want, func() bool { return fact(t, s, process.FactUp) == want })
	}
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		s := r.sink()
		wantUp(t, s, "0")
		r.apply(s, document("one"), sdk.ActionRestart)
		wantUp(t, s, "1")
		pid := r.running(s).Pid()
		check(t, syscall.Kill(pid, syscall.SIGSTOP))
		wantUp(t, s, "0")
		check(t, syscall.Kill(pid, syscall.SIGCONT))
		wantUp(t, s, "1")
	})
	t.Run("started by another program", func(t *testing.T) {
		t.Parallel()
		r := newTestEnv(t)
		check(t, os.MkdirAll(filepath.Dir(r.cfg.ConfigFile), 0o755))
		check(t, os.WriteFile(r.cfg.ConfigFile, r.document("other").Files[0].Content, 0o644))
		s := r.sink()
		out, err := exec.Command(s.cfg.Binary, "-D", "-f", r.cfg.ConfigFile, "-p", s.paths.PidFile).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		r.wantServed("other")
		wantUp(t, s, "1")
		if problems(t, s) == "" {
			t.Error("it is no problem that another program has started HAProxy")
		}
		if count := fact(t, s, "old_workers_count"); count != "" {
			t.Errorf("%s old workers, although HAProxy cannot be asked", count)
		}
		r.apply(s, r.document("one"), sdk.ActionRestart)
		wantUp(t, s, "1")
	})
}
