package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// A shutdown takes at most five seconds from SIGTERM, and as process 1 [Daemon.drainTimeout] in addition. First pushes and new
// changes end, then sinks and sources stop, then everything that is still in progress ends.
const (
	// changesTimeout bounds the changes in progress. Stopping the sinks ends those that take longer.
	changesTimeout = time.Second
	// stopTimeout bounds stopping sinks and sources, in addition to [Daemon.drainTimeout]. A plugin that takes longer is killed
	// within another second.
	stopTimeout = 1500 * time.Millisecond
	// shutdownTimeout bounds all of these together. What has not ended by then ends with the process.
	shutdownTimeout = 4 * time.Second
	// storeTimeout bounds writing the state store, and sending the last traces at the same time.
	storeTimeout = 500 * time.Millisecond
)

var errShutdownTimeout = errors.New("not everything ended in time")

// shutdown stops the HTTP servers, waits for idle to be closed, and stops sinks and sources then or after a timeout. It returns
// errShutdownTimeout if something is still running.
func (d *Daemon) shutdown(ctx context.Context, idle <-chan struct{}) error {
	drain := d.drainTimeout()
	all, cancel := context.WithTimeout(ctx, shutdownTimeout+drain)
	defer cancel()
	served := d.http.close()
	changes, cancel := context.WithTimeout(all, changesTimeout)
	defer cancel()
	waitFor(changes, idle)
	stopped := inBackground(func() {
		ctx, cancel := context.WithTimeout(all, stopTimeout+drain)
		defer cancel()
		d.stopComponents(ctx)
	})
	ended := waitFor(all, stopped) && waitFor(all, idle) && waitFor(all, served)
	last, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	traced := inBackground(func() { _ = d.tracer.Close(last) })
	if d.store != nil {
		written := waitFor(last, inBackground(func() { _ = d.store.Close() }))
		ended = ended && written
	}
	waitFor(last, traced) // a collector that is away does not make a shutdown incomplete
	if !ended {
		return errShutdownTimeout
	}
	return nil
}

// drainTimeout returns for how long the connections of HAProxy may delay the end of the daemon: as process 1 the longest
// drain_timeout, and otherwise 0.
func (d *Daemon) drainTimeout() time.Duration {
	if !d.process1 {
		return 0
	}
	var longest time.Duration
	forEachHAProxySink(d.components().cfg, func(_ string, sink haproxy.Config) {
		longest = max(longest, sink.DrainTimeout)
	})
	return longest
}

// inBackground calls f in a goroutine and returns a channel that is closed when f has returned.
func inBackground(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// waitFor waits until done is closed. It returns false if ctx is done first.
func waitFor(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// stopComponents stops all sinks and sources in parallel, until ctx is done.
func (d *Daemon) stopComponents(ctx context.Context) {
	var wg sync.WaitGroup
	stop := func(kind, name string, component any) {
		if s, ok := component.(sdk.Stopper); ok {
			wg.Go(func() { d.stopComponent(ctx, kind, name, s, true) })
		}
	}
	running := d.components()
	for name, s := range running.sources {
		stop("source", name, s)
	}
	for name, s := range running.sinks {
		stop("sink", name, s)
	}
	wg.Wait()
}
