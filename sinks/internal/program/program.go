// Package program runs other people's programs for sinks.
package program

import (
	"cmp"
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// An Outcome is what a program that ran to its end has left.
type Outcome struct {
	Output string // standard output and standard error, or the end of it: see [Command]
	Code   int    // 0 for success
}

const (
	// maxOutput bounds what is kept of a program's output, in bytes, where the command has no bound of its own.
	maxOutput = 64 << 10
	// pipeGrace is how long a program's children may hold its output open once it has ended. A daemon that went into
	// the background lets go of it within milliseconds; one that does not must not hold us up.
	pipeGrace = time.Second
)

// Run executes a program to its end. The error is about not having run it: it was not found, was killed, or ctx was
// done first, which kills it with all that it started in its session. An exit code other than 0 is no error.
//
// The program gets a session of its own, so that no signal to our process group or terminal reaches it or what it
// starts.
func Run(ctx context.Context, name string, args ...string) (Outcome, error) {
	return Command{Name: name, Args: args}.Run(ctx)
}

// A Command is a program to run, and where.
type Command struct {
	Name string
	Args []string
	Dir  string   // the working directory; empty for ours
	Env  []string // NAME=value; nil for ours
	Keep int      // so many bytes of the end of the output are kept; 0 for 64 KiB
}

// Run executes the command as [Run] does.
func (c Command) Run(ctx context.Context) (Outcome, error) {
	output := tail{most: cmp.Or(c.Keep, maxOutput)}
	cmd := exec.CommandContext(ctx, c.Name, c.Args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &output, &output, c.Dir, c.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeGrace
	err := cmd.Run()
	o := Outcome{Output: output.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		o.Code = exit.ExitCode()
		return o, nil
	}
	// The program has ended well even if a child still holds its output.
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return o, nil
	}
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	return o, err
}

// A tail keeps the end of what is written to it.
type tail struct {
	kept []byte
	most int // bytes
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.most; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.kept) }

// Lines returns the lines of text that are not blank, trimmed.
func Lines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
