package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// SourceStatus is the status of a source at one moment.
type SourceStatus struct {
	Name         string
	Type         string         // see [SourceConfig.Type]
	Up           bool           // Watch runs, and the source reports no problem
	LastSnapshot time.Time      // when the source emitted its last snapshot, also if it is held or changes nothing; zero for none
	LastCause    string         // what made the source emit it: one of the Cause constants of package sdk, or empty
	LastSender   string         // the address of the client that pushed it; empty if there is none
	StaleSince   time.Time      // when the snapshot in use was taken, if it is of an earlier run; otherwise zero
	Held         *Held          // why the last snapshot is not used yet; nil if it is
	Services     int            // in the snapshot in use
	Instances    map[string]int // in the snapshot in use, by the name of their status; nil without a snapshot
	Quarantined  int            // instances of the last snapshot
	sdk.Health
}

// received is what a source remembers of the last snapshot that it emitted.
type received struct {
	at            time.Time
	cause, sender string
}

// Sources returns the status and the health of every source, sorted by name. It calls all sources at the same time and returns at
// the latest when ctx is done: that a source has not answered by then is one of its problems.
func (e *Engine) Sources(ctx context.Context) []SourceStatus {
	sources := e.current().sources
	all := make([]SourceStatus, len(sources))
	var wg sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(sources)) {
		wg.Go(func() { all[i] = sources[name].status(ctx) })
	}
	wg.Wait()
	return all
}

// status returns the status of the source with its health.
func (s *source) status(ctx context.Context) SourceStatus {
	health := s.health(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	status := SourceStatus{
		Name: s.name, Type: s.typ, Up: health.OK(),
		LastSnapshot: s.received.at, LastCause: s.received.cause, LastSender: s.received.sender,
		Held: s.heldLocked(), Services: len(s.newest.Services), Instances: maps.Clone(s.counts),
		Quarantined: len(s.findings.quarantined), Health: health,
	}
	if s.stale {
		status.StaleSince = s.newest.Taken
	}
	return status
}

// heldLocked returns a copy of what is held, or nil.
func (s *source) heldLocked() *Held {
	if s.hold == nil {
		return nil
	}
	held := s.hold.Held
	return &held
}

// countByStatus returns how many instances have each status, by its name. Every status has an entry.
func countByStatus(snap sdk.Snapshot) map[string]int {
	numbers := map[sdk.Status]int{}
	for _, service := range snap.Services {
		for i := range service.Instances { // without a copy of each instance
			numbers[service.Instances[i].Status]++
		}
	}
	counts := map[string]int{}
	for _, status := range []sdk.Status{sdk.Alive, sdk.Tombstone, sdk.Unhealthy, sdk.Unknown, sdk.Draining} {
		counts[status.Name()] = 0
	}
	for status, n := range numbers {
		counts[status.Name()] += n
	}
	return counts
}
