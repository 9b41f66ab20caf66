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
	Up           bool           // Watch runs, and the source reports no problem
	LastSnapshot time.Time      // when the source emitted its last snapshot, which may be held; zero for none
	StaleSince   time.Time      // when the snapshot in use was taken, if it is of an earlier run; otherwise zero
	Held         *Held          // why the last snapshot is not used yet; nil if it is
	Services     int            // in the snapshot in use
	Instances    map[string]int // in the snapshot in use, by the name of their status; nil without a snapshot
	Quarantined  int            // instances of the last snapshot
	sdk.Health
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
	answer := make(chan sdk.Health, 1)
	go func() { answer <- s.health(ctx) }()
	var health sdk.Health
	select {
	case health = <-answer:
	case <-ctx.Done():
		health.Problems = []string{"the source does not answer"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := SourceStatus{
		Name: s.name, Up: health.OK(), LastSnapshot: s.lastEmit, Services: len(s.newest.Services),
		Instances: maps.Clone(s.counts), Quarantined: len(s.findings.quarantined), Health: health,
	}
	if s.hold != nil {
		held := s.hold.Held
		status.Held = &held
	}
	if s.stale {
		status.StaleSince = s.newest.Taken
	}
	return status
}

// countByStatus returns how many instances have each status, by its name. Every status has an entry.
func countByStatus(snap sdk.Snapshot) map[string]int {
	counts := map[string]int{}
	for _, status := range []sdk.Status{sdk.Alive, sdk.Tombstone, sdk.Unhealthy, sdk.Unknown, sdk.Draining} {
		counts[status.Name()] = 0
	}
	for _, service := range snap.Services {
		for i := range service.Instances { // without a copy of each instance
			counts[service.Instances[i].Status.Name()]++
		}
	}
	return counts
}
