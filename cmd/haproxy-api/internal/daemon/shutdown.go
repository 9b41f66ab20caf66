package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Five seconds are promised from SIGTERM to the end, whatever hangs. The order: no more pushes and no more changes, then the
// sinks and sources let go, then the rest of what is under way.
const (
	// settleWithin bounds how long changes under way may go on. What hangs in a sink is broken off by the sink's end.
	settleWithin = time.Second
	// stopWithin bounds the orderly end of sinks and sources. A plugin that needs longer is killed within another second.
	stopWithin = 1500 * time.Millisecond
	// overWithin bounds these together. What has not ended by then ends with the process.
	overWithin = 4 * time.Second
	// keepWithin bounds the writing of what is to be remembered.
	keepWithin = 500 * time.Millisecond
)

var errLeft = errors.New("not all that was under way has ended")

// shutdown waits until changing is closed, which whoever calls has asked for, and ends sinks and sources then, or when that takes
// too long. It returns errLeft where something goes on when the time is over.
func (d *daemon) shutdown(ctx context.Context, changing <-chan struct{}) error {
	over, cancel := context.WithTimeout(ctx, overWithin)
	defer cancel()
	served := d.desks.close()
	settling, cancel := context.WithTimeout(over, settleWithin)
	defer cancel()
	waitFor(settling, changing)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		grace, done := context.WithTimeout(over, stopWithin)
		defer done()
		d.stop(grace)
	}()
	ended := waitFor(over, stopped) && waitFor(over, changing) && waitFor(over, served)
	if !d.remember(ctx) || !ended {
		return errLeft
	}
	return nil
}

// remember writes what is to be remembered, and returns false where that takes too long.
func (d *daemon) remember(ctx context.Context) bool {
	if d.memory == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, keepWithin)
	defer cancel()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		_ = d.memory.Close()
	}()
	return waitFor(ctx, kept)
}

// waitFor waits until done is closed, and returns false where ctx is done first.
func waitFor(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// stop gives every sink and source its orderly end, all at once, until ctx is done.
func (d *daemon) stop(ctx context.Context) {
	var wg sync.WaitGroup
	stop := func(name string, part any) {
		if s, ok := part.(sdk.Stopper); ok {
			wg.Go(func() {
				if err := s.Stop(ctx); err != nil {
					d.log.Warn("not everything stopped in order", "name", name, "error", err)
				}
			})
		}
	}
	parts := d.now()
	for name, s := range parts.sources {
		stop(name, s)
	}
	for name, s := range parts.sinks {
		stop(name, s)
	}
	wg.Wait()
}
