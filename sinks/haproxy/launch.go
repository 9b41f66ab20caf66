package haproxy

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// maxOutput bounds the file with HAProxy's output, in bytes. HAProxy writes about 500 bytes at each reload, but a program section
// writes what it likes.
const maxOutput = 1 << 20

// An output is the file that a managed HAProxy writes its messages to. Only there does HAProxy say why a worker ended: up to
// 3.0 neither the answer to "reload" nor anything else on the master socket has what a worker says after the fork.
type output struct{ path string }

// open returns the file for HAProxy to append to, emptied, and nil where there can be none: HAProxy runs without it.
func (o output) open() *os.File {
	file, err := os.OpenFile(o.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil
	}
	return file
}

// mark returns where the next message begins. It empties a file that has grown too large, which HAProxy goes on appending to.
func (o output) mark() int64 {
	info, err := os.Stat(o.path)
	switch {
	case err != nil:
		return 0
	case info.Size() > maxOutput && os.Truncate(o.path, 0) == nil:
		return 0
	default:
		return info.Size()
	}
}

// since returns what HAProxy logged after mark, without its notices.
func (o output) since(mark int64) []string {
	file, err := os.Open(o.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	content, err := io.ReadAll(io.NewSectionReader(file, mark, maxOutput))
	if err != nil {
		return nil
	}
	return messages.Lines(string(content))
}

// A launch is a HAProxy master that was started and may still be loading.
type launch struct {
	master int
	exited chan struct{} // closed when the master has ended
}

// launchMaster starts HAProxy's master as a child in a session of its own, so that no signal to us reaches it. It goes on when we
// end. Its output goes to a file and not to a pipe, which would end with us.
func launchMaster(out output, binary string, args ...string) (*launch, error) {
	cmd := exec.Command(binary, args...)
	if file := out.open(); file != nil {
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting HAProxy with %s: %w", binary, err)
	}
	l := &launch{master: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		defer close(l.exited)
		_ = cmd.Wait() // how it ended is in its output
	}()
	return l, nil
}

func (l *launch) hasExited() bool {
	select {
	case <-l.exited:
		return true
	default:
		return false
	}
}

// abandon ends a master that nobody waits for any more, unless it has got so far as to write its pid file: from then on it may
// have taken over from another one.
func (l *launch) abandon(pidFile string) {
	if pids, err := readPids(pidFile); err == nil && len(pids) > 0 && pids[0] == l.master {
		return
	}
	_ = syscall.Kill(-l.master, syscall.SIGKILL)
}

// await polls until serves reports that the master serves. The error is a [refusal] with HAProxy's words where the master ends
// instead.
func (l *launch) await(ctx context.Context, out output, serves func() bool) error {
	return poll(ctx, func() (bool, error) {
		if l.hasExited() {
			log := out.since(0)
			return false, &refusal{sentence: "HAProxy did not start: " + messages.Summary(program.Outcome{Output: strings.Join(log, "\n"), Code: 1})}
		}
		return serves(), nil
	})
}
