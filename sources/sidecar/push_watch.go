package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// minFetchInterval is the minimum time between the starts of two fetches: anyone who can reach the port can send empty bodies.
const minFetchInterval = time.Second

// Watch emits the pushes that are received. It fetches the state until the first push, once more after it if fetching failed
// before, after a resync interval without a push, and at once when a push seems lost. A fetched state is emitted only if it
// differs from the last snapshot, and dropped if a push arrives meanwhile. Watch returns nil once ctx is done.
func (p *Push) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	defer p.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	w := &pushWatch{Push: p, emit: emit, fetcher: newFetcher(p.fetch), timer: time.NewTimer(time.Hour), retry: newBackOff()}
	defer w.timer.Stop()
	w.fetchIn(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.latest.available:
			w.handlePush()
		case <-p.lost:
			w.fetchSoon()
		case <-w.timer.C:
			w.startFetch(ctx, &wg)
		case r := <-w.fetcher.results:
			w.handleResult(r)
		}
	}
}

func (p *Push) fetch(ctx context.Context) (sdk.Snapshot, error) {
	snap, err := fetchState(ctx, p.client, p.stateURL, p.name, p.config.MaxBody)
	snap.Cause = sdk.CauseResync
	return subscribed(snap, p.config.Subscriptions), err
}

// A pushWatch is the state of one call of Watch. It belongs to that call's goroutine.
type pushWatch struct {
	*Push
	emit    func(sdk.Snapshot)
	last    *sdk.Snapshot // emitted last
	fetcher *fetcher
	timer   *time.Timer // for the next fetch
	again   bool        // a push was lost during the current fetch
	retry   *backoff.ExponentialBackOff

	started  time.Time // when the last fetch began
	arrivals uint64    // the number of pushes that had arrived then
	newest   uint64    // the newest push that had been received then
	fetched  uint64    // arrivals of the last fetch whose result was used
}

func (w *pushWatch) handlePush() {
	number, snap := w.latest.take()
	if snap == nil {
		return
	}
	first := w.last == nil
	w.emitSnapshot(*snap)
	w.retry.Reset()
	if !w.fetcher.running {
		w.resync()
	}
	switch {
	case number <= w.fetched:
		// Its request arrived before the fetch began whose state was emitted meanwhile, so it may be the older one.
		w.fetchSoon()
	case first && w.fetchFault.Cause() != "":
		// A Sidecar that pushes has started, so the fault is probably over.
		w.fetchSoon()
	}
}

func (w *pushWatch) handleResult(r fetchResult) {
	w.fetcher.running = false
	_, newest := w.latest.counts()
	switch {
	case newest != w.newest: // a push arrived during the fetch and is newer
		w.resync()
	case r.err != nil:
		w.fetchFault.Warn(w.log, "fetching the state failed; retrying. Check that Sidecar runs and that state_url is right",
			r.err, "address", Redacted(w.stateURL))
		w.fetchIn(w.retry.NextBackOff())
	default:
		w.handleState(r.snap)
	}
	if w.again {
		w.again = false
		w.fetchSoon()
	}
}

func (w *pushWatch) handleState(snap sdk.Snapshot) {
	w.fetchFault.Resolve(w.log, "the state was fetched again", "address", Redacted(w.stateURL))
	w.fetched = w.arrivals
	w.retry.Reset()
	w.resync()
	if w.last == nil || !snapshots.Equal(*w.last, snap) {
		w.emitSnapshot(snap)
	}
}

func (w *pushWatch) emitSnapshot(snap sdk.Snapshot) {
	w.last = &snap
	w.emit(snap)
}

func (w *pushWatch) startFetch(ctx context.Context, wg *sync.WaitGroup) {
	if w.fetcher.running {
		return
	}
	w.started = time.Now()
	w.arrivals, w.newest = w.latest.counts()
	w.fetcher.start(ctx, wg)
}

func (w *pushWatch) resync() {
	if w.config.ResyncInterval > 0 {
		w.fetchIn(jitter(w.config.ResyncInterval))
		return
	}
	w.timer.Stop()
}

func (w *pushWatch) fetchSoon() {
	if w.fetcher.running {
		w.again = true
		return
	}
	w.fetchIn(time.Until(w.started.Add(minFetchInterval)))
}

func (w *pushWatch) fetchIn(pause time.Duration) {
	if w.stateURL == nil {
		w.timer.Stop()
		return
	}
	w.timer.Reset(max(pause, 0))
}

var (
	_ sdk.Receiver = (*Push)(nil)
	_ sdk.Reporter = (*Push)(nil)
)
