package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// fetchGap is the least time between the starts of two fetches: anybody who can reach us can send empty bodies.
const fetchGap = time.Second

// Watch emits every push that it finds in line, and fetches the state until the first of them has come, some time
// after the last one, and at once when one seems lost. A fetched state is emitted only if it differs from what was
// emitted last. When a push arrives while a state is being fetched, the push counts. Watch returns nil once ctx is
// done.
func (p *Push) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	defer p.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	w := &pushWatch{Push: p, emit: emit, asker: newAsker(p.fetch), due: time.NewTimer(time.Hour), retry: newBackOff()}
	defer w.due.Stop()
	w.fetchIn(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.slot.filled:
			w.takePush()
		case <-p.lost:
			w.fetchSoon()
		case <-w.due.C:
			w.startFetch(ctx, &wg)
		case a := <-w.asker.answers:
			w.takeAnswer(a)
		}
	}
}

func (p *Push) fetch(ctx context.Context) (sdk.Snapshot, error) {
	snap, err := fetchState(ctx, p.client, p.stateURL, p.name, p.config.MaxBody)
	return subscribed(snap, p.config.Subscriptions), err
}

// A pushWatch is the state of one call of Watch. It belongs to that call's goroutine.
type pushWatch struct {
	*Push
	emit  func(sdk.Snapshot)
	last  *sdk.Snapshot // what was emitted last
	asker *asker
	due   *time.Timer // when to fetch next
	again bool        // a push was lost while a fetch was under way
	retry *backoff.ExponentialBackOff

	started  time.Time // when the last fetch began
	arrivals uint64    // how many pushes had arrived then
	newest   uint64    // and which was the newest in line
	fetched  uint64    // arrivals of the last fetch whose answer counted
}

func (w *pushWatch) takePush() {
	number, snap := w.slot.take()
	if snap == nil {
		return
	}
	w.tell(*snap)
	w.retry.Reset()
	if !w.asker.busy {
		w.resync()
	}
	if number <= w.fetched {
		// Its request came before that of the state which we told meanwhile, so it may well be the older one.
		w.fetchSoon()
	}
}

func (w *pushWatch) takeAnswer(a answer) {
	w.asker.busy = false
	_, newest := w.slot.mark()
	switch {
	case newest != w.newest: // the state was on its way when a push overtook it
		w.resync()
	case a.err != nil:
		w.trouble.Warn(w.log, "the state could not be fetched and will be asked for again, while pushes are welcome; "+
			"see that Sidecar runs and that state_url is right", a.err)
		w.fetchIn(w.retry.NextBackOff())
	default:
		w.takeState(a.snap)
	}
	if w.again {
		w.again = false
		w.fetchSoon()
	}
}

func (w *pushWatch) takeState(snap sdk.Snapshot) {
	w.trouble.Resolve(w.log, "the state could be fetched again", "url", Redacted(w.stateURL))
	w.fetched = w.arrivals
	w.retry.Reset()
	w.resync()
	if w.last == nil || !snapshots.Equal(*w.last, snap) {
		w.tell(snap)
	}
}

func (w *pushWatch) tell(snap sdk.Snapshot) {
	w.last = &snap
	w.emit(snap)
}

func (w *pushWatch) startFetch(ctx context.Context, wg *sync.WaitGroup) {
	if w.asker.busy {
		return
	}
	w.started = time.Now()
	w.arrivals, w.newest = w.slot.mark()
	w.asker.ask(ctx, wg)
}

func (w *pushWatch) resync() {
	if w.config.ResyncInterval > 0 {
		w.fetchIn(jitter(w.config.ResyncInterval))
		return
	}
	w.due.Stop()
}

func (w *pushWatch) fetchSoon() {
	if w.asker.busy {
		w.again = true
		return
	}
	w.fetchIn(time.Until(w.started.Add(fetchGap)))
}

func (w *pushWatch) fetchIn(pause time.Duration) {
	if w.stateURL == nil {
		w.due.Stop()
		return
	}
	w.due.Reset(max(pause, 0))
}

var (
	_ sdk.Receiver = (*Push)(nil)
	_ sdk.Reporter = (*Push)(nil)
)
