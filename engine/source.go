package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// source runs one sdk.Source and hands what it emits to the pipelines that it feeds.
type source struct {
	name      string
	impl      sdk.Source
	log       *slog.Logger
	observer  Observer
	pipelines []*pipeline

	mu     sync.Mutex
	newest sdk.Snapshot
	filled bool
}

// run watches until ctx is done. A source that gives up is asked again after a while, and meanwhile what it said last holds.
func (s *source) run(ctx context.Context) {
	pace := backoff.NewExponentialBackOff()
	pace.MaxInterval = time.Minute
	for {
		began := time.Now()
		err := s.impl.Watch(ctx, s.emit)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > pace.MaxInterval {
			pace.Reset()
		}
		wait := pace.NextBackOff()
		s.log.Error("source gave up and is asked again", "error", err, "again_in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (s *source) emit(snap sdk.Snapshot) {
	s.mu.Lock()
	s.newest, s.filled = snap, true
	s.mu.Unlock()
	s.observer.SnapshotReceived(snap)
	for _, p := range s.pipelines {
		p.snapshots.put(snap)
	}
}

func (s *source) latest() (sdk.Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.filled
}
