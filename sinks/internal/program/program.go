// Package program runs commands for sinks, with bounds for their time and output.
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

// An Outcome is the result of a program that ran to its end.
type Outcome struct {
	Output string // standard output and standard error, or the end of them: see [Command]
	Code   int    // 0 for success
}

const (
	// maxOutput is the default of [Command.Keep].
	maxOutput = 64 << 10
	// pipeGrace is how long Run waits for children that keep the output open after the program has ended. Daemons close it
	// within milliseconds.
	pipeGrace = time.Second
)

// Run executes a program to its end. It returns an error if the program was not found, was killed, or ctx was done first,
// which kills all processes of its session. An exit code other than 0 is no error.
//
// The program has a session of its own, so that signals to this process group or terminal reach neither it nor its
// children.
func Run(ctx context.Context, name string, args ...string) (Outcome, error) {
	return Command{Name: name, Args: args}.Run(ctx)
}

// A Command is a program with its arguments and environment.
type Command struct {
	Name string
	Args []string
	Dir  string   // the working directory; empty for that of this process
	Env  []string // NAME=value; nil for that of this process
	Keep int      // the maximum length of Outcome.Output in bytes, of which the end is kept; 0 for 64 KiB
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
	// The program has succeeded even if a child still holds its output.
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return o, nil
	}
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	return o, err
}

// A tail is a writer that keeps the end of its input.
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
