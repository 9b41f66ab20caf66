package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// lastWords bounds how long the pipes of a program that ended are still read. A child that it left behind may hold them
// open for ever, and must not keep us from collecting the program itself.
const lastWords = time.Second

// program is the operating system's side of a plugin: go-plugin speaks to it through this.
type program struct {
	cmd            *exec.Cmd
	words          io.Writer  // gets what follows the handshake on standard output
	log            *logWriter // has standard error
	stdout, stderr *os.File
	exited         chan struct{}
	drained        chan struct{} // closed when standard error was read to its end
	err            error         // of the exit; read it once exited is closed

	handshake handshake

	mu     sync.Mutex // held while the program is started or killed
	doomed bool       // killed before it was started
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
	if p.doomed {
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
		_ = out.SetReadDeadline(time.Now().Add(lastWords))
		_ = errs.SetReadDeadline(time.Now().Add(lastWords))
		close(p.exited)
	}()
	return nil
}

func (p *program) Wait(context.Context) error {
	<-p.exited
	return p.err
}

// Kill is no error for a program that is gone already.
func (p *program) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.exited == nil {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// lastWord says how the program ended.
func (p *program) lastWord() string {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.String()
	default:
		return "it let go of the daemon"
	}
}

// awaitDrained waits until what the program, which has exited, wrote to standard error is in the log.
func (p *program) awaitDrained() {
	select {
	case <-p.drained:
	case <-time.After(2 * lastWords): // nobody reads
	}
}

// wasKilled reports whether the program, which has to have exited, was ended by force: by us, or by the system.
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
	return &handshakeReader{File: p.stdout, line: &p.handshake, rest: p.words}
}
func (p *program) Stderr() io.ReadCloser           { return &drainedReader{File: p.stderr, drained: p.drained} }
func (p *program) Diagnose(context.Context) string { return "" }

func (p *program) PluginToHost(network, address string) (hostNetwork, hostAddress string, err error) {
	return network, address, nil
}

func (p *program) HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	return network, address, nil
}

// drainedReader closes drained with its first error, which is the end of the file or the deadline after the program's exit.
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

// protocol returns the protocol version in the program's handshake, and false if there was no handshake.
func (p *program) protocol() (version int, ok bool) { return p.handshake.protocol() }

// maxHandshake bounds the bytes of a handshake: a plugin may write a first line without an end.
const maxHandshake = 64 << 10

// handshake is the first line of standard output, CORE-VERSION|PROTOCOL-VERSION|NETWORK|ADDRESS|…
type handshake struct {
	mu   sync.Mutex
	line []byte
}

func (h *handshake) append(part []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line = append(h.line, part[:min(len(part), maxHandshake-len(h.line))]...)
}

func (h *handshake) protocol() (version int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fields := strings.Split(strings.TrimSpace(string(h.line)), "|")
	if len(fields) < 4 {
		return 0, false
	}
	version, err := strconv.Atoi(fields[1])
	return version, err == nil
}

// handshakeReader reads the first line of standard output, and then nothing until its end: the rest, which go-plugin would
// discard, goes to the log.
type handshakeReader struct {
	*os.File
	line *handshake
	rest io.Writer
	over bool
}

func (h *handshakeReader) Read(into []byte) (int, error) {
	for {
		n, err := h.File.Read(into)
		line := 0
		if !h.over {
			line = n
			if end := bytes.IndexByte(into[:n], '\n'); end >= 0 {
				h.over, line = true, end+1
			}
			h.line.append(into[:line])
		}
		_, _ = h.rest.Write(into[line:n])
		if line > 0 || err != nil {
			return line, err
		}
	}
}

var _ runner.Runner = (*program)(nil)
