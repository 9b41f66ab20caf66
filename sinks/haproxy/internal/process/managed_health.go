package process

import (
	"context"
	"fmt"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// Health checks the master, its worker, and whether the worker answers. A master of HAProxy 2.6 does not answer for a moment
// while it loads, so Health asks again while there is time.
func (m *Managed) Health(ctx context.Context) sdk.Health {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	var now Instance
	var err error
	_ = poll(ctx, func() (bool, error) {
		now, err = m.Find(ctx)
		return err != nil || !m.lacksWorker(now), nil
	})
	h := sdk.Health{Facts: now.Facts()}
	h.Facts[FactUp] = "0"
	switch {
	case err != nil:
		h.Problems = append(h.Problems, err.Error())
	case now.None():
		h.Problems = append(h.Problems, notRunning)
	case m.lacksWorker(now) && m.isBusy(now): // no problem as long as it needs no command
		h.Facts[FactUp], h.Facts["master_socket"] = "1", runtimeapi.ErrBusy.Error()
	case m.lacksWorker(now):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy runs as process %s but does not answer on its master socket %s",
			JoinPids(now.Pids), m.cfg.MasterSocket))
	case now.Worker == 0:
		if !slices.ContainsFunc(now.Pids, procinfo.IsStopped) {
			h.Facts[FactUp] = "1"
		}
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy runs as process %s, started by another program; "+
			"the next document replaces it", JoinPids(now.Pids)))
	case !m.serves(ctx, now.Worker):
		h.Problems = append(h.Problems, fmt.Sprintf("HAProxy's worker %d does not answer", now.Worker))
	default:
		h.Facts[FactUp] = "1"
	}
	return h
}

// lacksWorker reports whether the instance has a master with the master socket that has not named its worker.
func (m *Managed) lacksWorker(now Instance) bool {
	return now.Worker == 0 && slices.ContainsFunc(now.Pids, m.cfg.hasMasterSocket)
}

// isBusy reports whether the instance has a master that accepts connections and a worker that listens.
func (m *Managed) isBusy(now Instance) bool {
	all, err := procinfo.List()
	if err != nil || !acceptsConnections(m.cfg.MasterSocket) || slices.ContainsFunc(now.Pids, procinfo.IsStopped) {
		return false
	}
	for pid, p := range all {
		if slices.Contains(now.Pids, p.Parent) && procinfo.Listens(pid) {
			return true
		}
	}
	return false
}

// serves reports whether a worker that has answered before still serves. A worker that does not answer serves if it listens:
// HAProxy's watchdog ends a worker that hangs, and a worker that is stopping has closed its listeners.
func (m *Managed) serves(ctx context.Context, worker int) bool {
	if worker == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := m.infos.Get(ctx, m.socket.worker(worker))
	if ctx.Err() != nil {
		return procinfo.Listens(worker)
	}
	return err == nil && i.ServedBy(worker)
}
