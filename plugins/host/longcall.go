package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

const (
	// patience is how long a call may take before the plugin is asked whether it is alive: for that long nobody wonders about a
	// reload of a large proxy on a busy machine.
	patience = 3 * time.Minute
	// cancelWithin is how long an Apply that was cancelled may go on before the plugin is killed. A sink may carry through
	// what it cannot break off.
	cancelWithin = 30 * time.Second
	// cancelEvery is how often the plugin is told meanwhile: the first time may come before the call that it is about.
	cancelEvery = time.Second
)

var (
	// errHung is what a call ends with whose plugin was killed.
	errHung = fmt.Errorf("the plugin did not say in time how it is and was killed: %w", context.DeadlineExceeded)
	// errGoesOn is what an Apply ends with whose plugin was killed since the Apply did not end.
	errGoesOn = fmt.Errorf("the plugin did not stop within %s and was killed: %w", cancelWithin, context.DeadlineExceeded)
)

// longCall is a call that may take long. A fixed limit would make a slow reload an endless one: killed, begun anew, and killed
// again.
type longCall struct {
	sink    *Sink
	process *process
	cancel  context.CancelCauseFunc
}

// whileAlive returns a context for a long call, which ends when p is asked for its health and does not answer: p is killed
// then. Where wanted is not nil, its end has the plugin stop the Apply that the call is, and p is killed where that takes too
// long. release has to be called in the end.
func (s *Sink) whileAlive(ctx context.Context, p *process, wanted <-chan struct{}) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &longCall{sink: s, process: p, cancel: cancel}
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(ctx, wanted) })
	return ctx, func() { cancel(nil); watching.Wait() }
}

func (c *longCall) watch(ctx context.Context, wanted <-chan struct{}) {
	ticks := time.NewTicker(c.sink.opts.patience)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wanted:
			c.stopApply(ctx)
			return
		case <-ticks.C:
			if isHung(ctx, c.process, c.sink.opts.pulse.within) {
				c.kill(ctx, errHung)
				return
			}
		}
	}
}

// stopApply tells the plugin to stop its Apply until the call ends.
func (c *longCall) stopApply(ctx context.Context) {
	late := time.NewTimer(c.sink.opts.cancelWithin)
	defer late.Stop()
	again := time.NewTicker(cancelEvery)
	defer again.Stop()
	for {
		asked, done := context.WithTimeout(ctx, cancelEvery)
		_, _ = wire.NewSinkClient(c.process.conn).Cancel(asked, &wire.CancelRequest{}) // the call's own answer counts
		done()
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-late.C:
			c.kill(ctx, errGoesOn)
			return
		}
	}
}

// kill ends the call, first, so that it tells why, and then the program: nobody knows what it is doing, and a fresh one will
// look.
func (c *longCall) kill(ctx context.Context, why error) {
	c.sink.opts.Log.Error("plugin hangs and is killed", "plugin", c.sink.opts.Name, "pid", c.process.program.pid(), "error", why)
	c.cancel(why)
	_ = c.process.program.Kill(ctx)
}

// isHung reports whether p leaves the question for its health unanswered. An answer that it cannot tell is one; and a program
// that is gone is somebody else's to notice.
func isHung(ctx context.Context, p *process, within time.Duration) bool {
	asked, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := wire.NewSinkClient(p.conn).Health(asked, &wire.HealthRequest{})
	return status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil
}
