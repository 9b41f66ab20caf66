package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
)

// promised is the time within which everything ends after SIGTERM.
const promised = 5 * time.Second

// stubborn is a plugin that listens to nobody.
func stubborn() {
	type config struct{}
	info := sdk.Info{Name: "stubborn"}
	if os.Getenv("STUBBORN") == "source" {
		serve.Source(info, config{}, func(context.Context, sdk.Env, config) (sdk.Source, error) { return stubbornPart{}, nil })
	} else {
		serve.Sink(info, config{}, func(context.Context, sdk.Env, config) (sdk.Sink, error) { return stubbornPart{}, nil })
	}
	select {}
}

type stubbornPart struct{}

func (stubbornPart) Watch(_ context.Context, emit func(sdk.Snapshot)) error {
	emit(sdk.Snapshot{})
	select {}
}

func (stubbornPart) Apply(context.Context, sdk.Document) (sdk.Result, error) { select {} }
func (stubbornPart) Health(context.Context) (sdk.Health, error)              { select {} }
func (stubbornPart) Stop(context.Context) error                              { select {} }

// endsInTime sends SIGTERM and wants all to be over within what is promised, with nothing left behind.
func (s *site) endsInTime() {
	s.t.Helper()
	daemon := s.cmd
	pids := descendants(daemon.Process.Pid)
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), promised)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	select {
	case err := <-ended:
		s.cmd = nil
		if err != nil {
			s.t.Errorf("the daemon ended with %v", err)
		}
	case <-ctx.Done():
		s.t.Fatal("the daemon does not end")
	}
	for _, pid := range pids {
		line := commandLine(pid)
		goesOn := strings.Contains(line, " -p "+s.path("haproxy.pid")) && !strings.Contains(line, " -c ") // HAProxy
		// An empty one is of a process that is dead and not collected yet.
		if line != "" && !goesOn {
			s.t.Errorf("process %d is still there: %s", pid, line)
		}
	}
	for _, pattern := range []string{"tmp/*", ".*[0-9]"} {
		if left, _ := filepath.Glob(s.path(pattern)); len(left) > 0 {
			s.t.Errorf("left behind: %q", left)
		}
	}
	if conn, err := net.Dial("tcp", s.api); err == nil {
		conn.Close()
		s.t.Error("the port is still open")
	}
}

// descendants are the processes below parent.
func descendants(parent int) []int {
	var all []int
	for _, child := range childrenOf(parent) {
		all = append(append(all, child), descendants(child)...)
	}
	return all
}

// privateTemp gives the daemon and its plugins a folder of their own for temporary files.
func (s *site) privateTemp() {
	s.t.Helper()
	if err := os.Mkdir(s.path("tmp"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(os.Environ(), "TMPDIR="+s.path("tmp"))
}

// fileSink gives the site a pipeline into a file, with more keys for the sink.
func (s *site) fileSink(keys string) {
	s.write("names.tmpl", "{{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}")
	s.write("haproxy-api.toml", s.read("haproxy-api.toml")+fmt.Sprintf(`
[sinks.names]
type = "file"
path = %q
%s
[pipelines.names]
source = "sidecar"
sink = "names"
template = %q
`, s.path("names"), keys, s.path("names.tmpl")))
}

func TestTheEndComesWhateverHangs(t *testing.T) {
	for name, hang := range map[string]func(s *site){
		"nothing": func(s *site) {
			s.start()
			s.answered(8000, "a")
		},
		"a command of a sink": func(s *site) {
			s.fileSink(`timeout = "1h"` + "\n" + `reload_cmd = ["sh", "-c", "sleep 1000"]`)
			s.start()
			s.eventually("the command runs", func() bool { return runs(s.cmd.Process.Pid, "sleep 1000") })
		},
		"a check of a sink": func(s *site) {
			s.fileSink(`timeout = "1h"` + "\n" + `check_cmd = ["sh", "-c", "sleep 1000; true {}"]`)
			s.start()
			s.eventually("the command runs", func() bool { return runs(s.cmd.Process.Pid, "sleep 1000") })
		},
		"HAProxy's check": func(s *site) {
			g := s.newGate()
			g.close()
			s.t.Cleanup(g.open)
			s.start("--set", g.program())
			g.reached()
		},
		"a plugin that stands still": func(s *site) {
			s.start()
			s.answered(8000, "a")
			s.stopPluginBetweenWrites()
			s.serve("web", "b", 8000)
		},
		"a plugin that never starts": func(s *site) {
			s.severalPipelines("exec sleep 1000")
			s.start()
			s.answered(8000, "a")
		},
		"a sink that listens to nobody": func(s *site) {
			s.severalPipelines("exec stubborn-plugin")
			s.start()
			s.answered(8000, "a")
		},
		"a source that listens to nobody": func(s *site) {
			s.write("haproxy-api-source-deaf", "#!/bin/sh\nSTUBBORN=source exec stubborn-plugin\n")
			if err := os.Chmod(s.path("haproxy-api-source-deaf"), 0o755); err != nil {
				s.t.Fatal(err)
			}
			s.write("haproxy-api.toml", s.read("haproxy-api.toml")+fmt.Sprintf(
				"[sources.deaf]\ntype = \"deaf\"\n[plugins.deaf]\npath = %q\n", s.path("haproxy-api-source-deaf")))
			s.start()
			s.logged("haproxy-api started")
		},
		"a start under way": func(s *site) {
			s.severalPipelines("exec sleep 1000")
			s.start()
			s.eventually("the plugin is being started", func() bool { return runs(s.cmd.Process.Pid, "sleep 1000") })
		},
		"a client with half a request": func(s *site) {
			s.start()
			s.answered(8000, "a")
			for _, half := range []string{"POST /upd", "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"} {
				conn, err := net.Dial("tcp", s.api)
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { conn.Close() })
				if _, err := io.WriteString(conn, half); err != nil {
					s.t.Fatal(err)
				}
			}
		},
		"a Sidecar that accepts and says nothing": func(s *site) {
			silent, err := net.Listen("tcp", s.ip+":0")
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { silent.Close() })
			s.start("-F", silent.Addr().String())
			if _, err := silent.Accept(); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.privateTemp()
			s.serve("web", "a", 8000)
			hang(s)
			s.endsInTime()
		})
	}
}

// stopPluginBetweenWrites stops the plugin while it has no temporary file open: a process that is killed in the middle of
// a write leaves one, which the next start removes.
func (s *site) stopPluginBetweenWrites() {
	s.t.Helper()
	pid := s.pluginPID()
	s.eventually("the plugin stands between two writes", func() bool {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		s.eventually("the plugin is stopped", func() bool { return isStopped(pid) })
		left, _ := filepath.Glob(s.path(".*[0-9]"))
		if len(left) == 0 {
			return true
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
		return false
	})
}

// isStopped reports whether every thread of the process is stopped by a signal: the third field of
// /proc/PID/task/TID/stat is T (proc(5)).
func isStopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// runs reports whether a process below parent has that command line.
func runs(parent int, command string) bool {
	for _, pid := range descendants(parent) {
		if strings.Contains(commandLine(pid), command) {
			return true
		}
	}
	return false
}
