package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// statusAddress is the address in the command that the demo prints.
var statusAddress = regexp.MustCompile(`status --address (\S+)`)

// The demo needs only HAProxy, which starts and reloads without a warning, and removes everything at the end.
//
// It does not run in parallel: the scenario advances every 300 ms, whether or not the machine is busy.
func TestDemo(t *testing.T) {
	env := &testEnv{t: t, ip: "127.0.0.1", log: &logFile{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	temporary := t.TempDir()
	env.cmd = exec.Command("haproxy-api", "demo", "--pace", "300ms", "--port", fmt.Sprint(port))
	env.cmd.Env = append(withStrictHAProxy(t), "TMPDIR="+temporary)
	env.cmd.Stdout, env.cmd.Stderr, env.cmd.WaitDelay = env.log, env.log, time.Second
	if err := env.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(env.kill)
	hosts := map[string]bool{}
	env.eventually("the answers follow the instances", func() bool {
		body, err := env.get(port)
		if err == nil {
			hosts[body] = true
		}
		return len(hosts) > 2
	})
	address := statusAddress.FindStringSubmatch(env.log.String())
	if address == nil {
		t.Fatalf("the demo does not name a command that asks it:\n%s", env.log)
	}
	if out, err := exec.Command("haproxy-api", "status", "--live", "--address", address[1]).CombinedOutput(); err != nil {
		t.Errorf("status: %v\n%s", err, out)
	}
	if err := env.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := env.wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("the demo ended with %v", err)
	}
	env.cmd = nil
	if strings.Contains(env.log.String(), "level=") {
		t.Errorf("the demo logs\n%s", env.log)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}
