package haproxy

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestSharesNetwork(t *testing.T) {
	for name, flags := range map[string]uintptr{"same": 0, "other": syscall.CLONE_NEWNET} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "sleep", "1000")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
			if flags != 0 && os.Geteuid() != 0 {
				cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			}
			check(t, cmd.Start())
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			if got := sharesNetwork(cmd.Process.Pid, running{pids: []int{os.Getpid()}}); got != (flags == 0) {
				t.Errorf("it shares our network: %v", got)
			}
		})
	}
}
