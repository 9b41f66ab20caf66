package sidecar

import (
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A slot holds the newest push until somebody takes it; an older one that nobody took is forgotten. Pushes are numbered
// in the order in which their requests arrived, so that one that took longer to read than the next does not replace it.
// The number 0 stands for "before all of them". A slot is safe for several goroutines.
type slot struct {
	filled chan struct{} // has one element while there is something to take

	mu       sync.Mutex
	arrivals uint64
	newest   uint64 // the number of the newest push that was put in
	snap     *sdk.Snapshot
}

func newSlot() *slot { return &slot{filled: make(chan struct{}, 1)} }

// arrive numbers a push that is about to be read.
func (s *slot) arrive() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals++
	return s.arrivals
}

// put never blocks.
func (s *slot) put(number uint64, snap sdk.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < s.newest {
		return
	}
	s.newest, s.snap = number, &snap
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

// take empties the slot. It returns nil when it is empty already.
func (s *slot) take() (number uint64, snap *sdk.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, s.snap = s.snap, nil
	return s.newest, snap
}

// mark returns how many pushes have arrived, and the number of the newest that was put in.
func (s *slot) mark() (arrivals, newest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrivals, s.newest
}
