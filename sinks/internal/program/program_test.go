package program

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	o, err := Run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	if err != nil || o.Code != 3 || o.Output != "out\nerr\n" {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := Run(t.Context(), "no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is missing: %v", err)
	}
	if _, err := Run(t.Context(), "sh", "-c", "kill -9 $$"); err == nil {
		t.Error("a program that was killed has run to its end")
	}
}

func TestCommand_DirectoryAndEnvironment(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := Command{Name: "/bin/sh", Args: []string{"-c", "pwd -P; echo $GIVEN"}, Dir: dir, Env: []string{"GIVEN=x"}}
	o, err := c.Run(t.Context())
	if err != nil || o.Output != dir+"\nx\n" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestRun_LongOutput(t *testing.T) {
	o, err := Run(t.Context(), "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
	if err != nil || len(o.Output) != maxOutput || !strings.HasSuffix(o.Output, "line 19999\n") {
		t.Errorf("%d bytes, %v", len(o.Output), err)
	}
}

// A cancelled program is killed with the children in its session.
func TestRun_CancelKillsTheSession(t *testing.T) {
	cause := errors.New("not needed any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := Run(ctx, "sh", "-c", "sleep 1000 & echo $! >"+pipe+"; wait")
		ended <- err
	}()
	said, err := os.ReadFile(pipe)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		t.Fatal(err)
	}
	group, err := syscall.Getpgid(child)
	if err != nil || group == syscall.Getpgrp() {
		t.Errorf("the child is in the process group %d, %v; ours is %d", group, err, syscall.Getpgrp())
	}
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("a cancelled run ended with %v", err)
	}
	for range 1000 { // until the signal is delivered
		o, err := Run(t.Context(), "ps", "-o", "stat=", "-p", strconv.Itoa(child))
		if err != nil {
			t.Fatal(err)
		}
		if o.Code != 0 || strings.HasPrefix(o.Output, "Z") {
			return
		}
	}
	t.Error("the child lives on")
}

// Run does not wait for a child that keeps the output open.
func TestRun_DoesNotWaitForChildren(t *testing.T) {
	o, err := Run(t.Context(), "sh", "-c", "sleep 1000 & echo $!")
	if err != nil || o.Code != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(o.Output))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the child is gone: %v", err)
	}
}
