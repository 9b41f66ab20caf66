package process

import (
	"context"
	"time"
)

// pollInterval is the time between two looks at something that does not report its changes.
const pollInterval = 10 * time.Millisecond

// poll calls check every pollInterval until check returns true or an error, or ctx is done.
func poll(ctx context.Context, check func() (done bool, err error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if done, err := check(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
