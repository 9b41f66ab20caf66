package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/internal/catalog"
)

// steadyAfter is how long a stream has to last for its end to be an accident, after which the next one is opened at
// once. A Sidecar that closes every stream it opens is left alone for longer and longer.
const steadyAfter = 10 * time.Second

// Watch emits every state that the Sidecar sends. It opens the stream anew whenever it breaks: at once first, then
// after pauses that grow. A stream that stays silent is compared with the state that can be fetched: one that differs
// is emitted, and none at all means a dead Sidecar and a new stream. Watch returns nil once ctx is done.
func (f *Follow) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	defer f.client.CloseIdleConnections()
	w := &followWatch{Follow: f, emit: emit, retry: newBackOff()}
	for {
		err := w.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.trouble.Warn(w.log, "Sidecar cannot be followed for now and will be tried again; see that it runs there", err,
			"sidecar", f.peer.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.pause()):
		}
	}
}

// A followWatch is the state of one call of Watch. It belongs to that call's goroutine.
type followWatch struct {
	*Follow
	emit    func(sdk.Snapshot)
	last    *sdk.Snapshot // what was emitted last
	cluster string        // the last name heard: by-service objects do not say it
	first   time.Time     // when the stream sent its first object; zero before
	hasty   bool          // the stream was opened at once after the one before
	retry   *backoff.ExponentialBackOff
}

// pause returns how long to wait before the next stream.
func (w *followWatch) pause() time.Duration {
	if !w.first.IsZero() && time.Since(w.first) >= steadyAfter {
		w.hasty = false
		w.retry.Reset()
	}
	if !w.hasty {
		w.hasty = true
		return 0
	}
	return w.retry.NextBackOff()
}

// stream follows one stream to its end, and says why it ended.
func (w *followWatch) stream(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.first = time.Time{}
	response, err := w.open(ctx, cancel)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	objects := make(chan answer)
	wg.Go(func() { w.read(ctx, response.Body, objects) })
	return w.listen(ctx, &wg, objects)
}

// open waits for the head of the answer only: its body has no end.
func (w *followWatch) open(ctx context.Context, cancel context.CancelCauseFunc) (*http.Response, error) {
	impatience := time.AfterFunc(fetchTimeout, func() { cancel(errTimeout) })
	defer impatience.Stop()
	var response *http.Response
	var err error
	for _, u := range w.peer.watches {
		response, err = open(ctx, w.client, u)
		if !isNotFound(err) {
			break
		}
	}
	switch {
	case isNotFound(err):
		return nil, fmt.Errorf("there is neither /watch nor /api/watch: %w", err)
	case errors.Is(context.Cause(ctx), errTimeout):
		if response != nil {
			_ = response.Body.Close()
		}
		return nil, fmt.Errorf("%s does not answer: %w", Redacted(w.peer.watches[0]), errTimeout)
	}
	return response, err
}

// read sends every object of body, and at last why there are no more.
func (w *followWatch) read(ctx context.Context, body io.Reader, objects chan<- answer) {
	stream := catalog.NewStream(body, MaxState)
	for {
		snap, err := stream.Next()
		select {
		case objects <- answer{snap, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (w *followWatch) listen(ctx context.Context, wg *sync.WaitGroup, objects <-chan answer) error {
	ask := newAsker(w.fetch)
	overtaken := false // by an object that came after the question
	silence := time.NewTimer(jitter(w.config.ResyncInterval))
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case o := <-objects:
			if o.err != nil {
				return brokenStream(o.err)
			}
			w.takeObject(o.snap)
			overtaken = true
			silence.Reset(jitter(w.config.ResyncInterval))
		case <-silence.C:
			if !ask.busy {
				overtaken = false
				ask.ask(ctx, wg)
			}
		case a := <-ask.answers:
			ask.busy = false
			if err := w.takeAnswer(a, overtaken); err != nil {
				return err
			}
			silence.Reset(jitter(w.config.ResyncInterval))
		}
	}
}

func brokenStream(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the stream has ended")
	}
	return fmt.Errorf("the stream broke: %w", plain(err))
}

func (w *followWatch) fetch(ctx context.Context) (sdk.Snapshot, error) {
	return fetchState(ctx, w.client, w.peer.state, w.name, MaxState)
}

func (w *followWatch) takeObject(snap sdk.Snapshot) {
	if w.first.IsZero() {
		w.first = time.Now()
		if !w.trouble.Resolve(w.log, "following Sidecar again", "sidecar", w.peer.String()) {
			w.log.Info("following Sidecar", "sidecar", w.peer.String())
		}
	}
	w.tell(w.whole(taken(snap, w.name)))
}

// takeAnswer returns an error if the stream should be opened anew.
func (w *followWatch) takeAnswer(a answer, overtaken bool) error {
	if overtaken { // the stream is alive, and what it said is newer
		return nil
	}
	if a.err != nil {
		return fmt.Errorf("the stream is silent: %w", a.err)
	}
	if snap := w.whole(a.snap); w.last == nil || !snapshots.Equal(*w.last, snap) {
		w.tell(snap)
	}
	return nil
}

// whole returns snap with the cluster's name, for one catalogue shall not look like two, and without the services that
// nobody wants.
func (w *followWatch) whole(snap sdk.Snapshot) sdk.Snapshot {
	if snap.Cluster == "" {
		snap.Cluster = w.cluster
	}
	w.cluster = snap.Cluster
	return subscribed(snap, w.config.Subscriptions)
}

func (w *followWatch) tell(snap sdk.Snapshot) {
	w.last = &snap
	w.emit(snap)
}

var _ sdk.Reporter = (*Follow)(nil)
