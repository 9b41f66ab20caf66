package haproxy

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// startBeside starts a HAProxy that does not belong to the sink and returns its process id.
func (r *testEnv) startBeside(binary, config string, options ...string) int {
	r.t.Helper()
	pidFile := r.path("beside.pid")
	_ = os.Remove(pidFile)
	args := append([]string{"-D", "-f", config, "-p", pidFile}, options...)
	if output, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, output)
	}
	pids, err := pidsIn(pidFile)
	check(r.t, err)
	return pids[0]
}

// beside writes the configuration of another HAProxy.
func (r *testEnv) beside(config string) string {
	r.t.Helper()
	path := r.path("beside.cfg")
	check(r.t, os.WriteFile(path, []byte(config), 0o600))
	return path
}

// conflictingPids returns the processes that Health names.
func conflictingPids(t *testing.T, s *Sink) string {
	t.Helper()
	h, err := s.Health(t.Context())
	check(t, err)
	if h.Facts["conflicting_processes"] != "" && len(h.Problems) == 0 {
		t.Errorf("facts %v, problems %v", h.Facts, h.Problems)
	}
	return h.Facts["conflicting_processes"]
}

// observingSink returns a sink that checks what runs all the time.
func (r *testEnv) observingSink() *Sink {
	s := r.sink()
	s.observeEvery = pollInterval
	return s
}

// inEachMode runs a test with a managed HAProxy and with one that commands start.
func inEachMode(t *testing.T, test func(t *testing.T, r *testEnv, document func(name string, more ...string) sdk.Document)) {
	t.Helper()
	for _, mode := range []struct {
		name string
		set  func(r *testEnv)
	}{
		{"managed", func(*testEnv) {}},
		{"command", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
		{"reload_cmd", (*testEnv).useAbsolutePath},
	} {
		t.Run(mode.name, func(t *testing.T) {
			r := newTestEnv(t)
			mode.set(r)
			document := r.document
			if r.cfg.byCommand() {
				document = r.daemonDocument
			}
			test(t, r, document)
		})
	}
}

func TestConflicts_SecondHAProxy(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		s := r.observingSink()
		r.apply(s, document("one"), sdk.ActionRestart)
		for name, start := range map[string]func() int{
			"with our file": func() int { return r.startBeside(r.cfg.Binary, r.cfg.ConfigFile) },
			"with a master": func() int { return r.startBeside(r.cfg.Binary, r.cfg.ConfigFile, "-W") },
			"with the directory of our file": func() int {
				check(t, os.Remove(r.path("haproxy.base.cfg")))
				_ = os.Remove(r.path("beside.cfg"))
				return r.startBeside(r.cfg.Binary, r.dir)
			},
			"with a file of its own": func() int {
				return r.startBeside(r.cfg.Binary, r.beside(strings.ReplaceAll(r.onDisk(), "one", "stale")))
			},
			"on an address that overlaps": func() int {
				return r.startBeside(r.cfg.Binary, r.beside(strings.ReplaceAll(r.onDisk(), "bind 127.0.0.1", "bind *")))
			},
			"with another program": func() int {
				program := r.path("other")
				content, err := os.ReadFile(findIt(t, r.cfg.Binary))
				check(t, err)
				writeProgram(t, program, content)
				return r.startBeside(program, r.beside(strings.ReplaceAll(r.onDisk(), "one", "stale")))
			},
		} {
			pid := start()
			eventually(t, name+" Health names it", func() bool { return conflictingPids(t, s) == strconv.Itoa(pid) })
			kill(t, pid)
			eventually(t, name+" the conflict is resolved", func() bool { return problems(t, s) == "" })
		}
		r.wantServed("one")
	})
}

// Old workers, replaced processes and HAProxy processes on other addresses are no conflicts.
func TestConflicts_NoneWithOtherProcesses(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		port := freePort(t)
		r.startBeside(r.cfg.Binary, r.beside(strings.ReplaceAll(string(document("other").Files[0].Content),
			strconv.Itoa(r.port), strconv.Itoa(port))))
		r.startClassic("old")
		hold := r.openConnection()
		s := r.observingSink()
		r.apply(s, document("new"), r.takeover())
		r.apply(s, document("newer"), sdk.ActionReload)
		wantNone := func() {
			t.Helper()
			for range 3 {
				found, err := s.paths.Conflicts(r.running(s))
				check(t, err)
				if len(found) > 0 {
					t.Fatalf("named: %v", found)
				}
			}
		}
		wantNone()
		check(t, hold.Close())
		wantNone()
		wantHealthy(t, s)
	})
}

// takeover returns the action that replaces a HAProxy which was started while the sink did not run.
func (r *testEnv) takeover() string {
	if r.cfg.byCommand() {
		return sdk.ActionReload
	}
	return sdk.ActionRestart
}

// openConnection holds a request open, so that the process that serves it does not end.
func (r *testEnv) openConnection() net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	check(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
	check(r.t, err)
	return conn
}

// The directory of the pid file, such as /run/haproxy, may be emptied while the sink does not run.
func TestStart_ReplacesHAProxyWithoutPidFile(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		check(t, os.Mkdir(r.path("run"), 0o700))
		r.cfg.PidFile = r.path("run/haproxy.pid")
		if r.cfg.ReloadCmd != "" {
			r.useCommands09()
		}
		first := r.sink()
		r.apply(first, document("one"), sdk.ActionRestart)
		old := r.running(first).Pids[0]
		r.stop(first)
		for _, path := range glob(t, r.path("run/*")) {
			check(t, os.RemoveAll(path))
		}

		second := r.observingSink()
		if m, ok := second.controller.(*process.Managed); ok {
			m.ResponseTimeout = 5 * time.Second
		}
		_, err := second.Apply(t.Context(), document("two"))
		check(t, err)
		eventually(t, "the old HAProxy has ended", func() bool { return !procinfo.Exists(old) })
		for range 20 {
			r.wantServed("two")
		}
		eventually(t, "healthy", func() bool { return problems(t, second) == "" })
	})
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	check(t, err)
	return paths
}

// A HAProxy that died is not started beside a process that has bound its address meanwhile.
func TestStart_AddressInUseByAnotherProcess(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeManaged, ModeCommand} {
		t.Run(mode, func(t *testing.T) {
			r := newTestEnv(t)
			r.cfg.Mode = mode
			s := r.observingSink()
			r.apply(s, r.document("one"), sdk.ActionRestart)
			before := r.running(s)
			other := r.startBeside(r.cfg.Binary, r.beside(strings.ReplaceAll(r.onDisk(), "one", "other")))
			kill(t, before.Pids[0])
			eventually(t, "Health names the process", func() bool {
				err := s.state.Load().startErr
				return err != nil && strings.Contains(err.Error(), strconv.Itoa(other))
			})
			if pids := processesOn(t, r.cfg.ConfigFile[:len(r.cfg.ConfigFile)-len("haproxy.cfg")]+"haproxy.pid"); len(pids) > 0 {
				t.Errorf("HAProxy was started: %v", pids)
			}
			kill(t, other)
			r.awaitOther(s, before)
			r.wantServed("one")
			eventually(t, "healthy", func() bool { return problems(t, s) == "" })
		})
	}
}

// A service manager restarts its own HAProxy after the sink has replaced it.
func TestConflicts_RestartedHAProxyIsNotEnded(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	check(t, os.WriteFile(r.cfg.ConfigFile, r.document("old").Files[0].Content, 0o600))
	manager := exec.Command("bash", "-c", fmt.Sprintf("while true; do %q -db -f %q -p %q; sleep 0.1; done",
		r.cfg.Binary, r.cfg.ConfigFile, r.path("unit.pid")))
	manager.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(t, manager.Start())
	end := func() {
		_ = syscall.Kill(-manager.Process.Pid, syscall.SIGKILL)
		_ = manager.Wait()
	}
	t.Cleanup(end)
	eventually(t, "the other HAProxy serves", func() bool { return r.served() == "old" })
	s := r.observingSink()
	_, err := s.Apply(t.Context(), r.document("new"))
	check(t, err)
	eventually(t, "Health names the restarted HAProxy", func() bool {
		pid := conflictingPids(t, s)
		return pid != "" && procinfo.Parent(atoi(pid)) == manager.Process.Pid
	})
	named := conflictingPids(t, s)
	r.apply(s, r.document("newer"), sdk.ActionReload)
	if now := conflictingPids(t, s); now != named {
		t.Errorf("process %s was ended, and Health names %s", named, now)
	}
	end()
	eventually(t, "the conflict is resolved", func() bool { return problems(t, s) == "" })
	r.wantServed("newer")
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
