package host

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// pipeTimeout bounds how long the pipes of a program that has ended are still read. A child process may keep them open for
// ever, and must not keep the host from waiting for the program itself.
const pipeTimeout = time.Second

// program is the operating system's process of a plugin, as a [runner.Runner] of go-plugin.
type program struct {
	cmd            *exec.Cmd
	handshake      handshake  // the first line of standard output
	stdoutLog      io.Writer  // gets what follows the handshake on standard output
	stderrLog      *logWriter // gets standard error
	stdout, stderr *os.File
	exited         chan struct{}
	drained        chan struct{} // closed when standard error was read to its end
	err            error         // of the exit; valid once exited is closed

	mu     sync.Mutex // held while the program is started or killed
	killed bool       // a program that was killed before it was started is not started
}

func (p *program) Start(context.Context) error {
	out, outWriter, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outWriter.Close()
	errs, errsWriter, err := os.Pipe()
	if err != nil {
		return errors.Join(err, out.Close())
	}
	defer errsWriter.Close()

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return errors.Join(context.Canceled, out.Close(), errs.Close())
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, outWriter, errsWriter
	if err := p.cmd.Start(); err != nil {
		return errors.Join(err, out.Close(), errs.Close())
	}
	p.stdout, p.stderr = out, errs
	p.exited, p.drained = make(chan struct{}), make(chan struct{})
	go func() {
		p.err = p.cmd.Wait()
		_ = out.SetReadDeadline(time.Now().Add(pipeTimeout))
		_ = errs.SetReadDeadline(time.Now().Add(pipeTimeout))
		close(p.exited)
	}()
	return nil
}

func (p *program) Wait(context.Context) error {
	<-p.exited
	return p.err
}

// Kill kills the program. It returns nil for a program that has ended.
func (p *program) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
	if p.exited == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// exitStatus says how the program ended.
func (p *program) exitStatus() string {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.String()
	default:
		return "it closed its connection to the daemon"
	}
}

// awaitDrained waits until the log has what the program, which has exited, wrote to standard error.
func (p *program) awaitDrained() {
	select {
	case <-p.drained:
	case <-time.After(2 * pipeTimeout): // go-plugin does not read it
	}
}

// wasKilled reports whether the program, which has exited, was killed by the host or by the system.
func (p *program) wasKilled() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (p *program) pid() int {
	if p.exited == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *program) ID() string   { return strconv.Itoa(p.pid()) }
func (p *program) Name() string { return p.cmd.Path }
func (p *program) Stdout() io.ReadCloser {
	return &handshakeReader{File: p.stdout, handshake: &p.handshake, rest: p.stdoutLog}
}
func (p *program) Stderr() io.ReadCloser           { return &drainedReader{File: p.stderr, drained: p.drained} }
func (p *program) Diagnose(context.Context) string { return "" }

func (p *program) PluginToHost(network, address string) (hostNetwork, hostAddress string, err error) {
	return network, address, nil
}

func (p *program) HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	return network, address, nil
}

// drainedReader closes drained at its first error, which is the end of the file or the deadline after the program's exit.
type drainedReader struct {
	*os.File
	drained chan struct{}
	once    sync.Once
}

func (d *drainedReader) Read(into []byte) (int, error) {
	n, err := d.File.Read(into)
	if err != nil {
		d.once.Do(func() { close(d.drained) })
	}
	return n, err
}

var _ runner.Runner = (*program)(nil)
