package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// SourceStatus is the status of a source at one moment.
type SourceStatus struct {
	Name         string
	Type         string    // see [SourceConfig.Type]
	LastSnapshot time.Time // when the newest snapshot arrived, also if it is held or changes nothing; zero for none since the start
	LastCause    string    // what made the source emit that snapshot: one of the Cause constants of package sdk, or empty
	LastSender   string    // who pushed that snapshot; empty if nobody did
	Services     int       // of the snapshot in use
	Instances    InstanceCounts
	Quarantined  []Quarantined // of the newest snapshot
	Held         *Held         // why the newest snapshot is not used yet; nil if it is
	StaleSince   time.Time     // when the snapshot in use was taken, if it is of an earlier run; otherwise zero
}

// InstanceCounts are the instances of the snapshot that a source's pipelines have, by status.
type InstanceCounts struct{ Alive, Unhealthy, Draining, Tombstone, Unknown int }

// countInstances counts the instances of snap by their status.
func countInstances(snap sdk.Snapshot) InstanceCounts {
	var c InstanceCounts
	for _, service := range snap.Services {
		for i := range service.Instances { // without a copy of each instance
			switch service.Instances[i].Status {
			case sdk.Alive:
				c.Alive++
			case sdk.Unhealthy:
				c.Unhealthy++
			case sdk.Draining:
				c.Draining++
			case sdk.Unknown:
				c.Unknown++
			default:
				c.Tombstone++
			}
		}
	}
	return c
}

// SourceHealth is the status of a source and the health that it reports.
type SourceHealth struct {
	SourceStatus
	sdk.Health
}

// Up reports whether the source reports no problem and has emitted a snapshot since the daemon started.
func (h SourceHealth) Up() bool { return h.OK() && !h.LastSnapshot.IsZero() }

// Sources returns the status of every source, sorted by name.
func (e *Engine) Sources() []SourceStatus {
	var all []SourceStatus
	for _, s := range e.sortedSources() {
		all = append(all, s.status())
	}
	return all
}

// SourceHealth returns the status and the health of every source, sorted by name. It calls all sources at the same time. It is a
// problem that a source's Watch has failed, and that the source has not answered when ctx is done.
func (e *Engine) SourceHealth(ctx context.Context) []SourceHealth {
	sources := e.sortedSources()
	all := make([]SourceHealth, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() {
			health := s.health(ctx)
			all[i] = SourceHealth{s.status(), health}
		})
	}
	wg.Wait()
	return all
}

func (e *Engine) sortedSources() []*source {
	var all []*source
	for _, s := range e.current().sources {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *source) int { return cmp.Compare(a.name, b.name) })
	return all
}

// received is what a source remembers of the newest snapshot that it emitted.
type received struct {
	at            time.Time
	cause, sender string
}

func (s *source) status() SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := SourceStatus{
		Name: s.name, Type: s.typ, LastSnapshot: s.received.at, LastCause: s.received.cause, LastSender: s.received.sender,
		Services: len(s.newest.Services), Instances: s.counts, Quarantined: s.findings.quarantined, Held: s.heldLocked(),
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
