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

// stableAfter is how long a stream must last so that the next one is opened at once. The pauses before the streams of a Sidecar
// that closes them earlier grow.
const stableAfter = 10 * time.Second

// Watch emits every state that the Sidecar sends. When the stream breaks, it opens another one, first at once and then
// after increasing pauses. While the stream is silent it fetches the state: a different one is emitted, and an error ends the
// stream. Watch returns nil once ctx is done.
func (f *Follow) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	defer f.client.CloseIdleConnections()
	w := &followWatch{Follow: f, emit: emit, retry: newBackOff()}
	for {
		err := w.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.fault.Warn(w.log, "following Sidecar failed; retrying. Check that it runs at this address", err,
			"address", f.peer.String())
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
	last    *sdk.Snapshot // emitted last
	cluster string        // the last known name: by-service objects lack it
	first   time.Time     // when the stream sent its first object; zero before
	noPause bool          // the stream was opened without a pause after the previous one
	retry   *backoff.ExponentialBackOff
}

// pause returns how long to wait before the next stream.
func (w *followWatch) pause() time.Duration {
	if !w.first.IsZero() && time.Since(w.first) >= stableAfter {
		w.noPause = false
		w.retry.Reset()
	}
	if !w.noPause {
		w.noPause = true
		return 0
	}
	return w.retry.NextBackOff()
}

// stream follows one stream to its end. The error is the reason of the end.
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
	objects := make(chan fetchResult)
	wg.Go(func() { w.read(ctx, response.Body, objects) })
	return w.follow(ctx, &wg, objects)
}

// open returns when it has received the header of the response, since the body does not end.
func (w *followWatch) open(ctx context.Context, cancel context.CancelCauseFunc) (*http.Response, error) {
	timeout := time.AfterFunc(fetchTimeout, func() { cancel(errTimeout) })
	defer timeout.Stop()
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
		return nil, fmt.Errorf("neither /watch nor /api/watch exists: %w", err)
	case errors.Is(context.Cause(ctx), errTimeout):
		if response != nil {
			_ = response.Body.Close()
		}
		return nil, fmt.Errorf("cannot reach %s: %w", Redacted(w.peer.watches[0]), errTimeout)
	}
	return response, err
}

// read sends every object of body, and at the end the error.
func (w *followWatch) read(ctx context.Context, body io.Reader, objects chan<- fetchResult) {
	stream := catalog.NewStream(body, MaxState)
	for {
		snap, err := stream.Next()
		select {
		case objects <- fetchResult{snap, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// follow handles the objects of a stream until it ends, and fetches the state when it is silent.
func (w *followWatch) follow(ctx context.Context, wg *sync.WaitGroup, objects <-chan fetchResult) error {
	fetcher := newFetcher(w.fetch)
	outdated := false // an object has arrived since the fetch began
	silence := time.NewTimer(jitter(w.config.ResyncInterval))
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case o := <-objects:
			if o.err != nil {
				return streamError(o.err)
			}
			w.handleObject(o.snap)
			outdated = true
			silence.Reset(jitter(w.config.ResyncInterval))
		case <-silence.C:
			if !fetcher.running {
				outdated = false
				fetcher.start(ctx, wg)
			}
		case r := <-fetcher.results:
			fetcher.running = false
			if err := w.handleResult(r, outdated); err != nil {
				return err
			}
			silence.Reset(jitter(w.config.ResyncInterval))
		}
	}
}

func streamError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the stream ended")
	}
	return fmt.Errorf("the stream broke: %w", withoutAddresses(err))
}

func (w *followWatch) fetch(ctx context.Context) (sdk.Snapshot, error) {
	snap, err := fetchState(ctx, w.client, w.peer.state, w.name, MaxState)
	snap.Cause = sdk.CauseResync
	return snap, err
}

func (w *followWatch) handleObject(snap sdk.Snapshot) {
	if w.first.IsZero() {
		w.first = time.Now()
		if !w.fault.Resolve(w.log, "following Sidecar again", "address", w.peer.String()) {
			w.log.Info("following Sidecar", "address", w.peer.String())
		}
	}
	snap = stamp(snap, w.name)
	snap.Cause = sdk.CauseWatch
	w.emitSnapshot(w.complete(snap))
}

// handleResult returns an error if the stream must be replaced.
func (w *followWatch) handleResult(r fetchResult, outdated bool) error {
	if outdated { // the object of the stream is newer
		return nil
	}
	if r.err != nil {
		return fmt.Errorf("the stream is silent: %w", r.err)
	}
	if snap := w.complete(r.snap); w.last == nil || !snapshots.Equal(*w.last, snap) {
		w.emitSnapshot(snap)
	}
	return nil
}

// complete returns snap with the name of the cluster, so that snapshots with and without it compare equal, and with the
// subscribed services only.
func (w *followWatch) complete(snap sdk.Snapshot) sdk.Snapshot {
	if snap.Cluster == "" {
		snap.Cluster = w.cluster
	}
	w.cluster = snap.Cluster
	return subscribed(snap, w.config.Subscriptions)
}

func (w *followWatch) emitSnapshot(snap sdk.Snapshot) {
	w.last = &snap
	w.emit(snap)
}

var _ sdk.Reporter = (*Follow)(nil)
