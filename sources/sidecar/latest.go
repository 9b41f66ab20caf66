package sidecar

import (
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A latestPush holds the newest push until it is taken, and drops older ones. Pushes are numbered from 1 in the order in which
// their requests arrived, so that one that takes longer to receive than the next does not replace it. It is safe for concurrent
// use.
type latestPush struct {
	available chan struct{} // has one element while there is a push

	mu       sync.Mutex
	arrivals uint64
	newest   uint64 // the number of the newest push that was received
	snap     *sdk.Snapshot
}

func newLatestPush() *latestPush { return &latestPush{available: make(chan struct{}, 1)} }

// begin returns the number of a push that is about to be received.
func (l *latestPush) begin() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrivals++
	return l.arrivals
}

// put stores the push, unless a newer one has been received. It never blocks.
func (l *latestPush) put(number uint64, snap sdk.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < l.newest {
		return
	}
	l.newest, l.snap = number, &snap
	select {
	case l.available <- struct{}{}:
	default:
	}
}

// take returns the push and removes it, or nil if there is none.
func (l *latestPush) take() (number uint64, snap *sdk.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	snap, l.snap = l.snap, nil
	return l.newest, snap
}

// counts returns the number of pushes that have arrived, and the number of the newest that was received.
func (l *latestPush) counts() (arrivals, newest uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrivals, l.newest
}
