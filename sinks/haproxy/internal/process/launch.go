package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// maxOutput bounds the file with HAProxy's output, in bytes. HAProxy writes about 500 bytes at each reload, but the programs of
// a program section may write much more.
const maxOutput = 1 << 20

// An outputFile is the path of the file to which a managed HAProxy writes its messages. Only there does HAProxy say why a
// worker ended: up to 3.0 neither the answer to "reload" nor any other command on the master socket has what a worker writes
// after the fork.
type outputFile string

// create empties the file and returns it for HAProxy to append to. It returns nil if it cannot: HAProxy runs without it.
func (o outputFile) create() *os.File {
	file, err := os.OpenFile(string(o), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
	if err != nil {
		return nil
	}
	return file
}

// end returns the offset at which the next message begins. It empties a file that has grown too large, to which HAProxy goes on
// appending.
func (o outputFile) end() int64 {
	info, err := os.Stat(string(o))
	switch {
	case err != nil:
		return 0
	case info.Size() > maxOutput && os.Truncate(string(o), 0) == nil:
		return 0
	default:
		return info.Size()
	}
}

// since returns what HAProxy logged after offset, without its notices.
func (o outputFile) since(offset int64) []string {
	file, err := os.Open(string(o))
	if err != nil {
		return nil
	}
	defer file.Close()
	content, err := io.ReadAll(io.NewSectionReader(file, offset, maxOutput))
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

// launchMaster starts HAProxy's master as a child in a session of its own, so that it gets no signal for this process and
// outlives it. Its output goes to a file and not to a pipe, which would end with this process.
func launchMaster(out outputFile, binary string, args ...string) (*launch, error) {
	cmd := exec.Command(binary, args...)
	if file := out.create(); file != nil {
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("HAProxy's program %s cannot be started: %w", binary, replace.Cause(err))
	}
	l := &launch{master: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		defer close(l.exited)
		_ = cmd.Wait() // the output says how it ended
	}()
	return l, nil
}

// abandon kills a master that nothing waits for, unless it has written its pid file: from then on it may have replaced
// another one. It reports whether it has killed it.
func (l *launch) abandon(pidFile string) bool {
	if pids, err := readPids(pidFile); err == nil && len(pids) > 0 && pids[0] == l.master {
		return false
	}
	_ = syscall.Kill(-l.master, syscall.SIGKILL)
	return true
}

// wait polls until serves returns true. It returns a [LoadError] if the master ends before.
func (l *launch) wait(ctx context.Context, out outputFile, serves func() bool) error {
	return poll(ctx, func() (bool, error) {
		select {
		case <-l.exited:
			outcome := program.Outcome{Output: strings.Join(out.since(0), "\n"), Code: 1}
			return false, &LoadError{Message: "HAProxy did not start: " + messages.Summary(outcome)}
		default:
			return serves(), nil
		}
	})
}
