package procinfo

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// start starts a process that only waits, and kills it at the end of the test.
func start(t *testing.T, attributes *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	cmd.SysProcAttr = attributes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestShareNetwork(t *testing.T) {
	for name, flags := range map[string]uintptr{"same": 0, "other": syscall.CLONE_NEWNET} {
		t.Run(name, func(t *testing.T) {
			attributes := &syscall.SysProcAttr{Cloneflags: flags}
			if flags != 0 && os.Geteuid() != 0 {
				attributes.Cloneflags |= syscall.CLONE_NEWUSER
			}
			cmd := start(t, attributes)
			if got := ShareNetwork(cmd.Process.Pid, os.Getpid()); got != (flags == 0) {
				t.Errorf("ShareNetwork: %v", got)
			}
		})
	}
}

// In a container whose first process does not reap its children, zombies stay in the list of processes.
func TestExists_Zombie(t *testing.T) {
	cmd := start(t, nil)
	pid := cmd.Process.Pid
	if !Exists(pid) {
		t.Error("a running process does not exist")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); Exists(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie exists")
		}
	}
	_ = cmd.Wait()
	if Exists(pid) || Exists(0) || Exists(-1) {
		t.Error("a process that has been reaped exists")
	}
}
