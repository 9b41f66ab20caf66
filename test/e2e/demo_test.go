package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The demo brings everything along but HAProxy, which starts and reloads without a warning, and removes it all again.
func TestDemo(t *testing.T) {
	refuseWarnings(t)
	s := &site{t: t, ip: "127.0.0.1", log: &logFile{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	temporary := t.TempDir()
	s.cmd = exec.Command("haproxy-api", "demo", "--pace", "300ms", "--port", fmt.Sprint(port))
	s.cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = s.log, s.log, time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	hosts := map[string]bool{}
	s.eventually("the answers follow the instances", func() bool {
		body, err := s.get(port)
		if err == nil {
			hosts[body] = true
		}
		return len(hosts) > 2
	})
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("the demo ended with %v", err)
	}
	s.cmd = nil
	if strings.Contains(s.log.String(), "level=") {
		t.Errorf("the demo logs\n%s", s.log)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
