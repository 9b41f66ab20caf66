package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shutdownLimit is the time within which all processes end after SIGTERM, as documented. A busy machine may take longer, so tests
// do not measure it: whatever hangs in a test does so for much longer, and the limits in the daemon have a test of their own.
const shutdownLimit = 5 * time.Second

// wantShutdown sends SIGTERM and fails the test unless all processes end and leave nothing behind.
func (env *testEnv) wantShutdown() {
	env.t.Helper()
	daemon := env.cmd
	pids := descendantPIDs(daemon.Process.Pid)
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		env.t.Fatal(err)
	}
	if err := env.wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		env.t.Errorf("the daemon ended with %v", err)
	}
	env.cmd = nil
	for _, pid := range pids {
		env.eventually(fmt.Sprintf("process %d has ended", pid), func() bool {
			line := commandLine(pid) // empty for a zombie
			// HAProxy keeps running.
			isHAProxy := strings.Contains(line, " -p "+env.path("haproxy.pid")) && !strings.Contains(line, " -c ")
			return line == "" || isHAProxy
		})
	}
	for _, pattern := range []string{"tmp/*", ".*[0-9]"} {
		if left, _ := filepath.Glob(env.path(pattern)); len(left) > 0 {
			env.t.Errorf("left: %q", left)
		}
	}
	if conn, err := net.Dial("tcp", env.apiAddress); err == nil {
		conn.Close()
		env.t.Error("the port is still open")
	}
}

// usePrivateTemp gives the daemon and its plugins their own directory for temporary files.
func (env *testEnv) usePrivateTemp() {
	env.t.Helper()
	if err := os.Mkdir(env.path("tmp"), 0o755); err != nil {
		env.t.Fatal(err)
	}
	env.env = append(os.Environ(), "TMPDIR="+env.path("tmp"))
}

// addFileSink adds a pipeline into a file; keys are more lines for the sink.
func (env *testEnv) addFileSink(keys string) {
	env.write("names.tmpl", "{{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}")
	env.write("haproxy-api.toml", env.read("haproxy-api.toml")+fmt.Sprintf(`
[sinks.names]
type = "file"
path = %q
%s
[pipelines.names]
source = "sidecar"
sink = "names"
template = %q
`, env.path("names"), keys, env.path("names.tmpl")))
}

func TestShutdown_Ends(t *testing.T) {
	t.Parallel()
	for name, hang := range map[string]func(env *testEnv){
		"no fault": func(env *testEnv) {
			env.start()
			env.waitAnswer(8000, "a")
		},
		"a command of a sink": func(env *testEnv) {
			env.addFileSink(`timeout = "1h"` + "\n" + `reload_cmd = ["sh", "-c", "sleep 1000"]`)
			env.start()
			env.eventually("the command runs", func() bool { return isRunning(env.cmd.Process.Pid, "sleep 1000") })
		},
		"a check of a sink": func(env *testEnv) {
			env.addFileSink(`timeout = "1h"` + "\n" + `check_cmd = ["sh", "-c", "sleep 1000; true {}"]`)
			env.start()
			env.eventually("the command runs", func() bool { return isRunning(env.cmd.Process.Pid, "sleep 1000") })
		},
		"HAProxy's check": func(env *testEnv) {
			b := env.newBarrier()
			b.block()
			env.t.Cleanup(b.release)
			env.start("--set", b.haproxyOption())
			b.waitReached()
		},
		"a stopped plugin": func(env *testEnv) {
			env.start()
			env.waitAnswer(8000, "a")
			env.stopPluginBetweenWrites()
			env.startInstance("web", "b", 8000)
		},
		"a plugin that never starts": func(env *testEnv) {
			env.addPipelines("exec sleep 1000")
			env.start()
			env.waitAnswer(8000, "a")
		},
		"a sink that ignores cancellation": func(env *testEnv) {
			env.addPipelines("exec unresponsive-plugin")
			env.start()
			env.waitAnswer(8000, "a")
		},
		"a source that ignores cancellation": func(env *testEnv) {
			env.writeProgram("haproxy-api-source-deaf", "#!/bin/sh\nUNRESPONSIVE=source exec unresponsive-plugin\n")
			env.write("haproxy-api.toml", env.read("haproxy-api.toml")+fmt.Sprintf(
				"[sources.deaf]\ntype = \"deaf\"\n[plugins.deaf]\npath = %q\n", env.path("haproxy-api-source-deaf")))
			env.start()
			env.waitLogged("haproxy-api started")
		},
		"a start under way": func(env *testEnv) {
			env.addPipelines("exec sleep 1000")
			env.start()
			env.eventually("the plugin is being started", func() bool { return isRunning(env.cmd.Process.Pid, "sleep 1000") })
		},
		"a client with half a request": func(env *testEnv) {
			env.start()
			env.waitAnswer(8000, "a")
			for _, half := range []string{"POST /upd", "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"} {
				conn, err := net.Dial("tcp", env.apiAddress)
				if err != nil {
					env.t.Fatal(err)
				}
				env.t.Cleanup(func() { conn.Close() })
				if _, err := io.WriteString(conn, half); err != nil {
					env.t.Fatal(err)
				}
			}
		},
		"a Sidecar that accepts and does not answer": func(env *testEnv) {
			silent, err := net.Listen("tcp", env.ip+":0")
			if err != nil {
				env.t.Fatal(err)
			}
			env.t.Cleanup(func() { silent.Close() })
			env.start("-F", silent.Addr().String())
			_ = silent.(*net.TCPListener).SetDeadline(time.Now().Add(waitLimit))
			if _, err := silent.Accept(); err != nil {
				env.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.usePrivateTemp()
			env.startInstance("web", "a", 8000)
			hang(env)
			env.wantShutdown()
		})
	}
}

// stopPluginBetweenWrites stops the plugin while it has no temporary file: a process that is killed during a write leaves one,
// which the next start removes.
func (env *testEnv) stopPluginBetweenWrites() {
	env.t.Helper()
	pid := env.pluginPID()
	env.eventually("the plugin is stopped between two writes", func() bool {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			env.t.Fatal(err)
		}
		env.eventually("the plugin is stopped", func() bool { return isStopped(pid) })
		left, _ := filepath.Glob(env.path(".*[0-9]"))
		if len(left) == 0 {
			return true
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			env.t.Fatal(err)
		}
		return false
	})
}
