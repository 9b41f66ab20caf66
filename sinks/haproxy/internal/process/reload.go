package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// reload makes the master load the files on disk into a new worker, and waits until that worker serves.
//
// The old worker hands its listening sockets over to the new one through the master, so that no connection is refused. When
// loading fails, the old worker continues with its configuration. HAProxy 2.7 and newer answer when the reload is over and say
// how it went. Up to 2.6 the connection ends, the socket does not exist while the master executes itself again and loads, and
// the processes that the master lists afterwards are the answer. In both cases the proof is that a worker which did not exist
// before answers under its own process id.
func (m *Managed) reload(ctx context.Context, before processList) (LoadResult, error) {
	began := time.Now()
	m.logStart = m.output.end()
	status, log, err := m.socket.reload(ctx)
	if err != nil {
		return LoadResult{}, err
	}
	if status == reloadFailed {
		return LoadResult{}, keptPrevious(log)
	}
	w := &reloadWait{Managed: m, before: before, began: began}
	if err := poll(ctx, func() (bool, error) { return w.check(ctx) }); err != nil {
		if e, ok := errors.AsType[*LoadError](err); ok && len(e.Log) == 0 {
			e.Log = m.Log()
		}
		return LoadResult{}, err
	}
	return LoadResult{Instance: w.now, Action: sdk.ActionReload, Log: messages.Warnings(strings.Join(log, "\n"))}, nil
}

func keptPrevious(log []string) error {
	return &LoadError{"HAProxy did not load the configuration and keeps the previous one", log}
}

// A reloadWait is the wait for the end of a reload.
type reloadWait struct {
	*Managed
	before processList
	began  time.Time
	now    Instance

	answering time.Time // since when the master has answered without a change; zero while it does not answer
}

// check reports whether the new worker serves. It returns an error once it is known that no new worker will. It waits for as
// long as the master does not answer, because a master does not while it loads.
func (w *reloadWait) check(ctx context.Context) (bool, error) {
	if !procinfo.Exists(w.before.master) {
		return false, &LoadError{Message: fmt.Sprintf("HAProxy's master process %d ended during the reload", w.before.master)}
	}
	p, err := w.listProcesses(ctx)
	if err != nil {
		w.answering = time.Time{}
		return false, nil
	}
	if p.master != w.before.master {
		return false, &LoadError{Message: fmt.Sprintf("HAProxy's master process was %d before the reload and is %d now",
			w.before.master, p.master)}
	}
	if worker := p.newWorker(w.before); worker != 0 {
		w.now = p.instance()
		w.now.Worker = worker
		return w.hasStarted(ctx, worker), nil
	}
	return false, w.checkFailed(p)
}

// checkFailed returns an error if a list without a new worker shows that the reload has failed.
func (w *reloadWait) checkFailed(p processList) error {
	if p.reloads > w.before.reloads && p.failed != 0 {
		return reloadFailedError(p)
	}
	if w.answering.IsZero() {
		w.answering = time.Now()
	}
	if time.Since(w.answering) > w.ResponseTimeout {
		return &LoadError{Message: fmt.Sprintf("HAProxy's master process %d answers but has started no new worker for %v; "+
			"its workers are %v", p.master, time.Since(w.began).Round(time.Second), slices.Concat(p.workers, p.old))}
	}
	return nil
}

func reloadFailedError(p processList) error {
	return &LoadError{Message: fmt.Sprintf("HAProxy could not load the configuration (reload %d of master process %d failed) "+
		"and keeps the previous one", p.reloads, p.master)}
}
