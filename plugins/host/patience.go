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

// patience is how long a call may take before the plugin is asked whether it is alive: for that long nobody wonders about a
// reload of a large proxy on a busy machine.
const patience = 3 * time.Minute

// errHung is what a call ends with whose plugin was killed.
var errHung = fmt.Errorf("the plugin did not say in time how it is and was killed: %w", context.DeadlineExceeded)

// whileAlive returns a context for a call that may take long. A fixed limit would make a slow reload an endless one: killed,
// begun anew, and killed again. So p is asked for its health after each period, and only when that is not answered is p
// killed, which ends the context. release has to be called in the end.
func (s *Sink) whileAlive(ctx context.Context, p *process) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticks := time.NewTicker(s.opts.patience)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			if isHung(ctx, p, s.opts.pulse.within) {
				s.opts.Log.Error("plugin hangs and is killed", "plugin", s.opts.Name, "pid", p.program.pid())
				cancel(errHung)         // first, so that the call tells the cause
				_ = p.program.Kill(ctx) // nobody knows what it is doing; a fresh one will look
				return
			}
		}
	})
	return ctx, func() { cancel(nil); watching.Wait() }
}

// isHung reports whether p leaves the question for its health unanswered. An answer that it cannot tell is one; and a program
// that is gone is somebody else's to notice.
func isHung(ctx context.Context, p *process, within time.Duration) bool {
	asked, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := wire.NewSinkClient(p.conn).Health(asked, &wire.HealthRequest{})
	return status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil
}
