package haproxy

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// unloadable returns a document that passes the check and that HAProxy cannot load, because its socket cannot be opened.
func (r *testEnv) unloadable(name string) sdk.Document {
	return edited(r.document(name), "global\n", "global\n    stats socket "+r.path("missing/s.sock")+" level admin\n")
}

// A command that only sends a signal succeeds whether HAProxy loads the files or not. Only a new worker shows that it did.
func TestReloadCommand_SucceedsWithANewWorker(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args func(r *testEnv) []string
	}{
		{"with a master socket", func(r *testEnv) []string { return []string{"-S", r.path("own.sock")} }},
		{"without a master socket", func(*testEnv) []string { return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			master := r.startMaster("one", append(test.args(r), "-f", r.cfg.ConfigFile)...)
			s := r.sink()
			two := r.document("two")
			r.apply(s, two, sdk.ActionReload)
			r.wantServed("two")
			s.controller.(*process.Command).ResponseTimeout = 2 * time.Second
			for range 2 {
				_, err := s.Apply(t.Context(), r.unloadable("three"))
				if _, refused := errors.AsType[*process.LoadError](err); !refused || errors.Is(err, sdk.ErrRejected) {
					t.Fatalf("a document that HAProxy did not load: %v", err)
				}
				r.wantServed("two")
				r.wantOnDisk(two)
			}
			s.controller.(*process.Command).ResponseTimeout = 10 * time.Second
			r.apply(s, r.document("four"), sdk.ActionReload)
			r.wantServed("four")
			wantHealthy(t, s)
			if !procinfo.Exists(master) {
				t.Error("the master has ended")
			}
		})
	}
}

func TestReloadCommand_EndsBeforeHAProxyHasLoaded(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.startMaster("one", "-f", r.cfg.ConfigFile)
	r.cfg.ReloadCmd = "(sleep 0.5; " + r.cfg.ReloadCmd + ") >/dev/null 2>&1 &"
	s := r.sink()
	r.apply(s, r.document("two"), sdk.ActionReload)
	r.wantServed("two")
}

// Load waits for a master that loads slowly.
func TestReloadCommand_SlowLoad(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"with a master socket": {"-S", "unix@own.sock"}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			r := newTestEnv(t)
			slow, open := r.slow(r.document("slow"))
			r.startMaster("one", append(args, "-f", r.cfg.ConfigFile)...)
			s := r.sink()
			s.controller.(*process.Command).ResponseTimeout = time.Second
			ended := make(chan error)
			go func() {
				_, err := s.Apply(t.Context(), slow)
				ended <- err
			}()
			select { // longer than the time-out for a HAProxy that does nothing
			case err := <-ended:
				t.Errorf("Apply did not wait for the load: %v", err)
				open()
				return
			case <-time.After(3 * time.Second):
			}
			open()
			check(t, <-ended)
			r.wantServed("slow")
		})
	}
}

func TestReloadCommand_DoesNothing(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(r *testEnv) int{
		"with a master": func(r *testEnv) int { return r.startMaster("one", "-f", r.cfg.ConfigFile) },
		"without":       func(r *testEnv) int { return r.startClassic("one") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestEnv(t)
			start(r)
			before := r.onDisk()
			r.cfg.ReloadCmd = "true"
			s := r.sink()
			s.controller.(*process.Command).ResponseTimeout = time.Second
			_, err := s.Apply(t.Context(), r.document("two"))
			if _, unchanged := errors.AsType[*process.UnchangedError](err); !unchanged {
				t.Errorf("got %v", err)
			}
			if r.onDisk() != before {
				t.Error("the document stayed on disk")
			}
		})
	}
}

// A HAProxy in another container or on another host has no visible process.
func TestReloadCommand_UnseenHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.cfg.ReloadCmd = "echo again >>" + r.path("runs")
	s := r.sink()
	s.controller.(*process.Command).ResponseTimeout = 100 * time.Millisecond
	check(t, os.WriteFile(r.cfg.PidFile, []byte("4194000\n"), 0o644)) // a process of another namespace
	one, two := r.document("one"), r.document("two")
	r.apply(s, one, sdk.ActionRestart)
	r.apply(s, two, sdk.ActionReload)
	r.apply(s, two, sdk.ActionUnchanged)
	r.wantOnDisk(two)
	wantHealthy(t, s)
	h, err := s.Health(t.Context())
	check(t, err)
	if h.Facts["reload"] == "" {
		t.Errorf("the facts lack that the reload cannot be verified: %v", h.Facts)
	}
	if pids, err := pidsIn(r.cfg.PidFile); err != nil || len(pids) != 1 {
		t.Errorf("the pid file names %v, %v", pids, err)
	}
	r.stop(s)

	next := r.sink()
	r.apply(next, two, sdk.ActionUnchanged)
	wantHealthy(t, next)
	runs, err := os.ReadFile(r.path("runs"))
	check(t, err)
	if count := strings.Count(string(runs), "again"); count != 2 {
		t.Errorf("the command was run %d times", count)
	}
}

// A HAProxy that was visible and no longer is has ended, whatever the exit code of the command is.
func TestReloadCommand_VisibleHAProxyHasEnded(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.startMaster("one", "-f", r.cfg.ConfigFile)
	s := r.sink()
	r.apply(s, r.document("two"), sdk.ActionReload)
	pids := r.running(s).Pids
	s.change.Lock()
	check(t, syscall.Kill(pids[0], syscall.SIGKILL))
	eventually(t, "HAProxy has ended", func() bool { return !procinfo.Exists(pids[0]) })
	s.controller.(*process.Command).ResponseTimeout = time.Second
	s.change.Unlock()
	if _, err := s.Apply(t.Context(), r.document("three")); err == nil {
		t.Error("a HAProxy that does not run was reloaded")
	}
	if problems(t, s) == "" {
		t.Error("Health reports no problem")
	}
}
