package haproxy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

func TestAdopt_RunningHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	one := r.document("one")
	first := r.sink()
	r.apply(first, one, sdk.ActionRestart)
	before := r.running(first)
	r.stop(first)
	r.wantServed("one")

	second := r.sink()
	wantHealthy(t, second)
	r.apply(second, one, sdk.ActionUnchanged)
	if now := r.running(second); !now.Same(before) {
		t.Errorf("the adopted HAProxy is %v, want %v", before, now)
	}
	r.stop(second)

	check(t, os.Remove(r.path("haproxy.cfg.applied")))
	third := r.sink()
	if p := problems(t, third); !strings.Contains(p, "no document") {
		t.Errorf("without a state file the problems are %q", p)
	}
	r.apply(third, one, sdk.ActionReload)
	r.apply(third, one, sdk.ActionUnchanged)
	r.stop(third)

	check(t, os.Remove(r.cfg.PidFile)) // the master socket still knows
	fourth := r.sink()
	r.apply(fourth, one, sdk.ActionUnchanged)
	if now := r.running(fourth); now.Pids[0] != before.Pids[0] {
		t.Errorf("without the pid file another HAProxy runs: %v after %v", now, before)
	}
}

func TestAdopt_StartsDeadHAProxyBeforeTheFirstDocument(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	one := r.document("one")
	first := r.sink()
	r.apply(first, one, sdk.ActionRestart)
	now := r.running(first)
	r.stop(first)
	kill(t, now.Pids[0])
	eventually(t, "HAProxy has ended", func() bool { return r.served() == "" })
	r.leaveTemporary(first, "haproxy.cfg")

	second := r.sink()
	_ = problems(t, second)
	r.awaitOther(second, now)
	r.wantServed("one")
	wantHealthy(t, second)
	r.apply(second, one, sdk.ActionUnchanged)
	r.wantTidy()
}

func TestReload_ByAnotherProgram(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	eventually(t, "the file was observed", func() bool { // it is restored by the next observation, ten seconds later
		return s.observedTimes() > 0
	})
	check(t, os.WriteFile(r.cfg.ConfigFile, r.document("else").Files[0].Content, 0o644))
	check(t, syscall.Kill(r.running(s).Pids[0], syscall.SIGUSR2))
	eventually(t, "the other configuration serves", func() bool { return r.served() == "else" })
	_, err := s.Apply(t.Context(), one) // a reload, or nothing where the watch was quicker
	check(t, err)
	r.wantServed("one")
	r.wantOnDisk(one)
}

// The previous plugin may have died between replacing the file and the reload, or another program may have reloaded HAProxy
// since.
func TestAdopt_FileOrStateFileDiffers(t *testing.T) {
	t.Parallel()
	t.Run("file newer than the process", func(t *testing.T) {
		r := newTestEnv(t)
		first := r.sink()
		r.apply(first, r.document("one"), sdk.ActionRestart)
		r.stop(first)
		two := r.document("two")
		check(t, os.WriteFile(r.cfg.ConfigFile, two.Files[0].Content, 0o644))
		r.apply(r.sink(), two, sdk.ActionReload)
		r.wantServed("two")
	})
	t.Run("process newer than the file", func(t *testing.T) {
		r := newTestEnv(t)
		first := r.sink()
		one := r.document("one")
		r.apply(first, one, sdk.ActionRestart)
		master := r.running(first).Pids[0]
		r.stop(first)
		check(t, os.WriteFile(r.cfg.ConfigFile, r.document("else").Files[0].Content, 0o644))
		check(t, syscall.Kill(master, syscall.SIGUSR2))
		eventually(t, "the other configuration serves", func() bool { return r.served() == "else" })
		check(t, os.WriteFile(r.cfg.ConfigFile, one.Files[0].Content, 0o644))
		r.apply(r.sink(), one, sdk.ActionReload)
		r.wantServed("one")
	})
}

// startClassic starts a HAProxy without a master, as haproxy-api 0.9 did.
func (r *testEnv) startClassic(name string) (pid int) {
	r.t.Helper()
	config := "global\n    daemon\n" + string(r.document(name).Files[0].Content)
	check(r.t, os.WriteFile(r.cfg.ConfigFile, []byte(config), 0o644))
	output, err := exec.Command(r.cfg.Binary, "-f", r.cfg.ConfigFile, "-p", r.cfg.PidFile).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %s", err, output)
	}
	pids, err := pidsIn(r.cfg.PidFile)
	check(r.t, err)
	return pids[0]
}

func TestReplace_ClassicHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	old := r.startClassic("old")
	r.wantServed("old")
	s := r.sink()
	if p := problems(t, s); !strings.Contains(p, "replaces it") {
		t.Errorf("while a HAProxy of another program runs the problems are %q", p)
	}
	if _, err := s.Apply(t.Context(), r.document("bad", "bogus")); !errors.Is(err, sdk.ErrRejected) {
		t.Fatalf("a bad document: %v", err)
	}
	r.wantServed("old")
	result := r.apply(s, r.document("new"), sdk.ActionRestart)
	if !strings.Contains(result.Reason, "has been replaced") {
		t.Errorf("reason %q", result.Reason)
	}
	eventually(t, "the old HAProxy has ended", func() bool { return !procinfo.Exists(old) })
	r.wantServed("new")
	r.apply(s, r.document("newer"), sdk.ActionReload)
	r.wantServed("newer")
}

func TestReplace_FailureLeavesTheOldHAProxy(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	old := r.startClassic("old")
	before := r.onDisk()
	s := r.sink()
	_, err := s.Apply(t.Context(), r.document("new", "frontend other\n    bind "+r.path("nowhere/x.sock")))
	wantError(t, err, "did not start")
	eventually(t, "the old HAProxy listens again", func() bool { return r.served() == "old" })
	if !procinfo.Exists(old) || r.onDisk() != before {
		t.Errorf("the old HAProxy runs: %v, on disk: %s", procinfo.Exists(old), r.onDisk())
	}
}

// A HAProxy that cannot bind an address interrupts the previous one for seconds, so it is not started.
func TestReplace_AddressInUse(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	old := r.startClassic("old")
	port, _ := occupy(t)
	s := r.sink()
	wantInUse(t, s, r.document("new", fmt.Sprintf("frontend other\n bind 127.0.0.1:%d", port)), port)
	if pids := processesOn(t, r.dir); len(pids) != 1 || pids[0] != old {
		t.Errorf("beside process %d run %v", old, pids)
	}
	r.wantServed("old")
}

func TestReplace_MasterWithoutItsSocket(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	before := r.running(s)
	s.controller.(*process.Managed).ResponseTimeout = 5 * time.Second
	check(t, os.Remove(r.path("haproxy.master.sock")))
	if p := problems(t, s); !strings.Contains(p, "does not answer on its master socket") {
		t.Errorf("without the socket the problems are %q", p)
	}
	r.apply(s, r.document("two"), sdk.ActionRestart)
	eventually(t, "the old master has ended", func() bool { return !procinfo.Exists(before.Pids[0]) })
	r.wantServed("two")
	wantHealthy(t, s)
}

func TestReusedPid_IsNotSignalled(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{
		"any program":                    "exec sleep 100",
		"a program that reads our files": "exec -a haproxy tail -f haproxy.cfg haproxy.pid haproxy.log",
	} {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
				for _, file := range []string{"haproxy.cfg", "haproxy.pid", "haproxy.log"} {
					check(t, os.WriteFile(r.path(file), nil, 0o644))
				}
				stranger := exec.Command("bash", "-c", command)
				stranger.Dir = r.dir
				check(t, stranger.Start())
				ended := make(chan error, 1)
				go func() { ended <- stranger.Wait() }()
				t.Cleanup(func() {
					select {
					case err := <-ended:
						t.Errorf("the process that has the id now was ended: %v", err)
					default:
						_ = stranger.Process.Kill()
						<-ended
					}
				})
				check(t, os.WriteFile(r.cfg.PidFile, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"), 0o644))
				r.cfg.OnExit = OnExitStop
				s := r.sink()
				if p := problems(t, s); !strings.Contains(p, "not running") {
					t.Errorf("the problems are %q", p)
				}
				r.apply(s, document("one"), sdk.ActionRestart)
				r.wantServed("one")
			})
		})
	}
}

func TestPidFile_Unreadable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"directory", func(path string) error { return os.Mkdir(path, 0o755) }, "is a directory"},
		{"loop", func(path string) error { return os.Symlink(path, path) }, "too many levels"},
		{"words", func(path string) error { return os.WriteFile(path, []byte("no pid\n"), 0o644) }, `contains "no"`},
		{"negative", func(path string) error { return os.WriteFile(path, []byte("-1\n"), 0o644) }, `contains "-1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			check(t, test.make(r.cfg.PidFile))
			s := r.sink()
			_, err := s.Apply(t.Context(), r.document("one"))
			wantError(t, err, r.cfg.PidFile, test.want)
			if p := problems(t, s); !strings.Contains(p, test.want) {
				t.Errorf("the problems are %q", p)
			}
			if pids := processesOn(t, r.dir); len(pids) > 0 {
				t.Errorf("a HAProxy was started: %v", pids)
			}
			if r.onDisk() != "" {
				t.Error("the configuration was left on disk")
			}
			r.wantTidy()
			check(t, os.Remove(r.cfg.PidFile))
			r.apply(s, r.document("one"), sdk.ActionRestart)
		})
	}
}

// A master loads the file that it was started with at every reload, whatever the sink's configuration says.
func TestReplace_MasterWithAnotherConfigurationFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	first := r.sink()
	r.apply(first, r.document("one"), sdk.ActionRestart)
	before := r.running(first)
	r.stop(first)

	r.cfg.ConfigFile = r.path("other.cfg")
	second := r.sink()
	_, err := second.Apply(t.Context(), r.document("two"))
	check(t, err)
	r.wantServed("two")
	if now := r.running(second); now.Pids[0] == before.Pids[0] {
		t.Errorf("the master is still %v", now)
	}
	r.apply(second, r.document("three"), sdk.ActionReload)
	r.wantServed("three")
	eventually(t, "the first master has ended", func() bool { return !procinfo.Exists(before.Pids[0]) })
}

// The process before us may have died when HAProxy had the change and the file had it not.
func TestAdopt_ServersDifferFromTheFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	first := r.sink()
	one, both := r.lines("server a "+a.address), r.lines("server a "+a.address, "server b "+b.address)
	r.apply(first, one, sdk.ActionRestart)
	r.ask(first, "add server app/b "+b.address, "set server app/b state ready")
	r.stop(first)
	next := r.watchful()
	_ = problems(t, next)
	if next.state.Load().verified {
		t.Error("what runs is taken for what is on disk")
	}
	r.wantAnswers("a b") // and is left alone until it is known what should run
	r.apply(next, both, sdk.ActionReload)
	r.wantAnswers("a b")
	r.wantOnDisk(both)
	r.stop(next)

	// A server that was leaving goes on leaving.
	third := r.sink()
	answer := r.slowly()
	var left named
	select {
	case <-a.asked:
		left = a
		r.apply(third, r.lines("server b "+b.address), sdk.ActionRuntime)
	case <-b.asked:
		left = b
		r.apply(third, one, sdk.ActionRuntime)
	}
	r.stop(third)
	fourth := r.sink()
	wantHealthy(t, fourth)
	if !fourth.state.Load().verified {
		t.Error("a server that leaves makes what runs unknown")
	}
	close(left.open)
	answer()
	eventually(t, "it is gone", func() bool { return !strings.Contains(r.servers(fourth, "app"), " ") })
}
