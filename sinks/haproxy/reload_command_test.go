package haproxy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// useCommands09 sets the default commands of haproxy-api 0.9.
func (r *testEnv) useCommands09() {
	pid := r.cfg.PidFile
	r.cfg.ReloadCmd = fmt.Sprintf("%s -f %s -p %s `[[ -f %s ]] && echo \"-sf $(cat %s)\"`",
		r.cfg.Binary, r.cfg.ConfigFile, pid, pid, pid)
	r.cfg.VerifyCmd = fmt.Sprintf("%s -c -f %s", r.cfg.Binary, r.cfg.ConfigFile)
}

// daemonDocument returns a document as the template of haproxy-api 0.9 wrote it.
func (r *testEnv) daemonDocument(name string, more ...string) sdk.Document {
	return edited(r.document(name, more...), "global", "global\n    daemon")
}

func TestReloadCommand_OfVersion09(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		set  func(r *testEnv)
	}{
		{"given", (*testEnv).useCommands09},
		{"by mode", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			test.set(r)
			s := r.sink()
			s.stableAfter = 100 * time.Millisecond // what ends later is started again with the same document
			one := r.daemonDocument("one")
			r.apply(s, one, sdk.ActionRestart)
			r.wantServed("one")
			wantHealthy(t, s)
			r.apply(s, one, sdk.ActionUnchanged)
			r.apply(s, edited(one, "frontend", "# comment\nfrontend"), sdk.ActionWritten)
			first := r.running(s).Pids[0]
			r.apply(s, r.daemonDocument("two"), sdk.ActionReload)
			eventually(t, "the first HAProxy has ended", func() bool { return !procinfo.Exists(first) })
			r.wantServed("two")

			_, err := s.Apply(t.Context(), r.daemonDocument("bad", "bogus"))
			wantError(t, err, "unknown keyword 'bogus'", r.cfg.ConfigFile)
			if !errors.Is(err, sdk.ErrRejected) || strings.Contains(err.Error(), "/.haproxy") {
				t.Errorf("want a rejection without temporary names: %v", err)
			}
			r.wantServed("two")
			r.wantOnDisk(r.daemonDocument("two"))

			r.awaitProven(s)
			second := r.running(s)
			kill(t, second.Pids[0])
			r.awaitOther(s, second)
			r.wantServed("two")
			wantHealthy(t, s)
			r.stop(s)
			next := r.sink()
			eventually(t, "adopted", func() bool { return problems(t, next) == "" })
			r.apply(next, r.daemonDocument("two"), sdk.ActionUnchanged)
			r.wantTidy()
		})
	}
}

func TestReloadCommand_Fails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		reload func(r *testEnv, formula string) string
		want   string
	}{
		{"exit code", func(_ *testEnv, formula string) string {
			return "if grep -q two " + "FILE" + "; then echo no such luck; exit 3; fi; " + formula
		}, "no such luck"},
		{"dead afterwards", func(r *testEnv, formula string) string {
			return "if grep -q two FILE; then kill -9 $(cat " + r.cfg.PidFile + "); exit 0; fi; " + formula
		}, "names no running HAProxy"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			r.useCommands09()
			r.cfg.ReloadCmd = strings.ReplaceAll(test.reload(r, r.cfg.ReloadCmd), "FILE", r.cfg.ConfigFile)
			s := r.sink()
			s.controller.(*process.Command).ResponseTimeout = 5 * time.Second
			one := r.daemonDocument("one")
			r.apply(s, one, sdk.ActionRestart)
			_, err := s.Apply(t.Context(), r.daemonDocument("two"))
			wantError(t, err, test.want)
			if errors.Is(err, sdk.ErrRejected) {
				t.Error("a failed reload is a rejection")
			}
			r.wantOnDisk(one)
			r.wantServed("one")
			r.wantTidy()
		})
	}
}

func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.VerifyCmd = "! grep -q bad " + r.path("haproxy.c") + "*" // judges what is in place
	s := r.sink()
	good := r.document("good")
	r.apply(s, good, sdk.ActionRestart)
	before := r.running(s)
	_, err := s.Apply(t.Context(), r.document("bad"))
	if !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("a verify command that fails: %v", err)
	}
	r.wantOnDisk(good)
	if !r.running(s).Same(before) {
		t.Error("HAProxy was changed")
	}
	r.wantTidy()
	r.stop(s)

	r.cfg.VerifyCmd = "no-such-command-here " + r.cfg.ConfigFile
	_, err = r.sink().Apply(t.Context(), r.document("bad"))
	wantError(t, err, "verify_cmd could not be run")
	if errors.Is(err, sdk.ErrRejected) {
		t.Error("a missing command is a rejection")
	}
}

// A command whose child keeps its output open must not block the sink.
func TestReloadCommand_ChildKeepsOutputOpen(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useCommands09()
	r.cfg.ReloadCmd = "(exec -a lingering-" + r.path("x") + " sleep 1000) & " + r.cfg.ReloadCmd
	s := r.sink()
	r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
	r.wantServed("one")
}

func TestStateFile_IsPrivate(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	info, err := os.Stat(r.path("haproxy.cfg.applied"))
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the state file's mode is %v", info.Mode())
	}
	info, err = os.Stat(r.cfg.ConfigFile)
	check(t, err)
	if info.Mode().Perm() != 0o644 {
		t.Errorf("the configuration's mode is %v", info.Mode())
	}
}
