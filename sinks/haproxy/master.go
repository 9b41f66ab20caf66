package haproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A masterSocket is the command line interface of HAProxy's master process. Each question takes a connection of its
// own, about 0.3 ms.
type masterSocket struct{ path string }

// ask sends one command and returns the whole answer; see [runtimeapi.Ask].
func (m masterSocket) ask(ctx context.Context, command string) (string, error) {
	return runtimeapi.Ask(ctx, m.path, command)
}

// procs asks for the processes.
func (m masterSocket) procs(ctx context.Context) (procs, error) {
	answer, err := m.ask(ctx, "show proc")
	if err != nil {
		return procs{}, err
	}
	p, ok := parseProcs(answer)
	if !ok {
		return procs{}, fmt.Errorf("the master socket %s does not list a master process", m.path)
	}
	return p, nil
}

// serves reports whether that very worker answers and means to stay.
func (m masterSocket) serves(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := runtimeapi.AskInfo(ctx, runtimeapi.Endpoint{Path: m.path, Worker: worker})
	return err == nil && i.ServedBy(worker)
}

// A verdict is what a master says about a reload.
type verdict int

const (
	unsaid     verdict = iota // 2.6 and older: the connection just ends
	succeeded                 // 2.7 and newer, as "Success=1"
	refused                   // 2.7 and newer, as "Success=0"
	inProgress                // 3.1 and newer, as "Success=0" with a sentence: the master is loading already
)

// parseReload reads the answer to "reload": the verdict, and the lines that HAProxy logged while it loaded.
func parseReload(answer string) (verdict, []string) {
	first, log, _ := strings.Cut(answer, "\n")
	log = strings.TrimPrefix(log, "--\n")
	switch strings.TrimSpace(first) {
	case "Success=1":
		return succeeded, messages.Lines(log)
	case "Success=0":
		if strings.HasPrefix(log, "Another reload is still in progress") {
			return inProgress, nil
		}
		return refused, messages.Lines(log)
	default:
		return unsaid, nil
	}
}

// requestReload has the master load the files on disk, and returns what it says. One that is loading already is asked until that
// is over: what it loads may be older.
func (m masterSocket) requestReload(ctx context.Context) (said verdict, log []string, err error) {
	err = poll(ctx, func() (bool, error) {
		// An error here is no answer: the connection may break because the master is executing itself again.
		answer, _ := m.ask(ctx, "reload")
		said, log = parseReload(answer)
		return said != inProgress, nil
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return said, log, err
}

// handsOver reports whether the HAProxy with that admin socket hands its listening sockets over there. It does not if it is busy.
func handsOver(ctx context.Context, infos *runtimeapi.Infos, admin string, log *slog.Logger) bool {
	if !answers(admin) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	if _, err := infos.Get(ctx, runtimeapi.Endpoint{Path: admin}); errors.Is(err, runtimeapi.ErrBusy) {
		log.Warn("listening sockets cannot be handed over, so connections may be lost", "error", err)
		return false
	}
	return true
}
