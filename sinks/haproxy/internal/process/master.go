package process

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A masterSocket is the path of the runtime API of HAProxy's master process.
type masterSocket string

func (m masterSocket) listProcesses(ctx context.Context) (processList, error) {
	answer, err := runtimeapi.Ask(ctx, string(m), "show proc")
	if err != nil {
		return processList{}, err
	}
	p, ok := parseProcessList(answer)
	if !ok {
		return processList{}, fmt.Errorf("the master socket %s does not list a master process", m)
	}
	return p, nil
}

// worker returns the endpoint of one worker of the master.
func (m masterSocket) worker(pid int) runtimeapi.Endpoint {
	return runtimeapi.Endpoint{Path: string(m), Worker: pid}
}

// A keptSocket is the socket of a master under a second name, while another master starts and takes the path.
type keptSocket struct{ path, kept string }

// keep makes the socket a keptSocket. There may be none.
func (m masterSocket) keep() keptSocket {
	k := keptSocket{path: string(m), kept: string(m) + ".previous"}
	k.discard()
	_ = os.Link(k.path, k.kept)
	return k
}

// restore gives the path back to the master that had it: the other one has ended.
func (k keptSocket) restore() { _ = os.Rename(k.kept, k.path) }

func (k keptSocket) discard() { _ = os.Remove(k.kept) }

// A reloadStatus is what a master answers to "reload".
type reloadStatus int

const (
	reloadUnknown    reloadStatus = iota // up to 2.6 the connection ends without an answer
	reloadSucceeded                      // from 2.7 on, as "Success=1"
	reloadFailed                         // from 2.7 on, as "Success=0"
	reloadInProgress                     // from 3.1 on, as "Success=0" with a sentence: the master is loading already
)

// parseReload parses the answer to "reload": the status, and the lines that HAProxy logged while it loaded.
func parseReload(answer string) (reloadStatus, []string) {
	first, log, _ := strings.Cut(answer, "\n")
	log = strings.TrimPrefix(log, "--\n")
	switch strings.TrimSpace(first) {
	case "Success=1":
		return reloadSucceeded, messages.Lines(log)
	case "Success=0":
		if strings.HasPrefix(log, "Another reload is still in progress") {
			return reloadInProgress, nil
		}
		return reloadFailed, messages.Lines(log)
	default:
		return reloadUnknown, nil
	}
}

// reload makes the master load the files on disk, and returns its answer. If the master is loading already, it asks again when
// that is over, because the master may be loading older files.
func (m masterSocket) reload(ctx context.Context) (status reloadStatus, log []string, err error) {
	err = poll(ctx, func() (bool, error) {
		// An error is no answer: the connection may break because the master executes itself again.
		answer, _ := runtimeapi.Ask(ctx, string(m), "reload")
		status, log = parseReload(answer)
		return status != reloadInProgress, nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return status, log, err
}
