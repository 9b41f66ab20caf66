package haproxy

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

// reload tells the master to load the files on disk into a new worker, and waits until that worker serves.
//
// The listening sockets go from the old worker to the new one through the master, so that no connection is refused.
// When loading fails the old worker goes on with what it has. HAProxy 2.7 and newer answer when it is over and say how
// it went; up to 2.6 the connection ends, the socket is gone while the master executes itself again and loads, and the
// processes that it lists afterwards are the answer. Both ways end in the same proof: a worker that was not there
// before answers under its own process id.
func (m *managed) reload(ctx context.Context, before procs) (renewal, error) {
	began := time.Now()
	m.loaded = m.output.mark()
	said, log, err := m.socket.requestReload(ctx)
	if err != nil {
		return renewal{}, err
	}
	if said == refused {
		return renewal{}, &refusal{"HAProxy did not load the configuration and keeps the one before", log}
	}
	w := &waiting{managed: m, before: before, began: began}
	if err := poll(ctx, func() (bool, error) { return w.look(ctx) }); err != nil {
		if r, ok := errors.AsType[*refusal](err); ok && len(r.log) == 0 {
			r.log = m.said()
		}
		return renewal{}, err
	}
	return renewal{now: w.now, action: sdk.ActionReload, log: messages.Warnings(strings.Join(log, "\n"))}, nil
}

// waiting is the wait for the end of a reload.
type waiting struct {
	*managed
	before procs
	began  time.Time
	now    running

	answering time.Time // since when the master has answered without a change; zero while it does not
}

// look reports whether the new worker serves, and an error once it is clear that none will. It goes on for as long as
// the master is silent, which is how it is while it loads.
func (w *waiting) look(ctx context.Context) (bool, error) {
	if !procinfo.Exists(w.before.master) {
		return false, &refusal{sentence: fmt.Sprintf("HAProxy's master process %d ended during the reload", w.before.master)}
	}
	p, err := w.answered(ctx)
	if err != nil {
		w.answering = time.Time{}
		return false, nil
	}
	if p.master != w.before.master {
		return false, &refusal{sentence: fmt.Sprintf("HAProxy's master process was %d before the reload and is %d now",
			w.before.master, p.master)}
	}
	if fresh := p.fresh(w.before); fresh != 0 {
		w.now = p.running()
		w.now.worker = fresh
		return w.answersAs(ctx, fresh), nil
	}
	return false, w.without(p)
}

// without judges an answer that lists no new worker.
func (w *waiting) without(p procs) error {
	if p.reloads > w.before.reloads && p.failed != 0 {
		return &refusal{sentence: fmt.Sprintf("HAProxy could not load the configuration (reload %d of master process %d failed) "+
			"and keeps the one before", p.reloads, p.master)}
	}
	if w.answering.IsZero() {
		w.answering = time.Now()
	}
	if time.Since(w.answering) > w.patience {
		return &refusal{sentence: fmt.Sprintf("HAProxy's master process %d answers but has started no new worker since %v ago; "+
			"its workers are %v", p.master, time.Since(w.began).Round(time.Second), slices.Concat(p.workers, p.old))}
	}
	return nil
}
