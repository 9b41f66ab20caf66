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
	// slowCall is how long a call may take before the host calls Health to find out whether the plugin hangs. A large proxy
	// on a busy machine may take that long to reload.
	slowCall = 3 * time.Minute
	// cancelTimeout is how long a cancelled Apply may go on before the plugin is killed. A sink may need to finish an
	// operation that it cannot interrupt.
	cancelTimeout = 30 * time.Second
	// cancelInterval is how often Cancel is repeated: the first one may arrive before the call that it cancels.
	cancelInterval = time.Second
)

var (
	// errUnresponsive is the error of a call whose plugin was killed because it did not respond to Health.
	errUnresponsive = fmt.Errorf("the plugin did not report its health in time and was killed: %w", context.DeadlineExceeded)
	// errNotCancelled is the error of a cancelled call whose plugin was killed because the call went on.
	errNotCancelled = fmt.Errorf("the plugin did not stop within %s and was killed: %w", cancelTimeout, context.DeadlineExceeded)
)

// longCall is a call without a deadline. A deadline would kill a plugin during each slow reload, which would then start again.
type longCall struct {
	sink    *Sink
	process *process
	cancel  context.CancelCauseFunc
}

// startLongCall returns a context for a call that may take long. If p does not respond to Health while the call goes on, p is
// killed and the context ends. Once cancelled is closed, the plugin must cancel the call, and p is killed if that
// takes too long; cancelled may be nil. The caller must call release.
func (s *Sink) startLongCall(ctx context.Context, p *process, cancelled <-chan struct{}) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &longCall{sink: s, process: p, cancel: cancel}
	var wg sync.WaitGroup
	wg.Go(func() { c.monitor(ctx, cancelled) })
	return ctx, func() { cancel(nil); wg.Wait() }
}

func (c *longCall) monitor(ctx context.Context, cancelled <-chan struct{}) {
	ticker := time.NewTicker(c.sink.opts.slowCall)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-cancelled:
			c.cancelCall(ctx)
			return
		case <-ticker.C:
			if hangs(ctx, c.process, c.sink.opts.pingTimeout) {
				c.kill(ctx, errUnresponsive)
				return
			}
		}
	}
}

// cancelCall calls Cancel until the call ends.
func (c *longCall) cancelCall(ctx context.Context) {
	late := time.NewTimer(c.sink.opts.cancelTimeout)
	defer late.Stop()
	ticker := time.NewTicker(cancelInterval)
	defer ticker.Stop()
	for {
		cancelCtx, done := context.WithTimeout(ctx, cancelInterval)
		_, _ = wire.NewSinkClient(c.process.conn).Cancel(cancelCtx, &wire.CancelRequest{}) // only the call's own response counts
		done()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-late.C:
			c.kill(ctx, errNotCancelled)
			return
		}
	}
}

// kill ends the call with reason as its error, and kills the program.
func (c *longCall) kill(ctx context.Context, reason error) {
	c.sink.opts.Log.Error("plugin hangs, killing it",
		"plugin", c.sink.opts.Name, "pid", c.process.program.pid(), "error", reason)
	c.cancel(reason)
	_ = c.process.program.Kill(ctx)
}

// hangs reports whether p does not respond to Health in time. Any response counts, errors included; the supervisor notices a
// program that has ended.
func hangs(ctx context.Context, p *process, timeout time.Duration) bool {
	healthCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := wire.NewSinkClient(p.conn).Health(healthCtx, &wire.HealthRequest{})
	return status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil
}
