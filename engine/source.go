package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A source runs an sdk.Source and passes its snapshots to pipelines, unless its guard holds them. It keeps its newest
// snapshot when another sdk.Source of the same name replaces its implementation.
type source struct {
	name     string
	store    StateStore
	log      *slog.Logger
	observer Observer
	running
	failed   logdedup.Fault // Watch failed, and no snapshot has been emitted since
	restored bool           // from the state store; only the goroutine of [Engine.Run] accesses it

	mu        sync.Mutex
	impl      sdk.Source
	guard     Guard
	pipelines []*pipeline
	newest    sdk.Snapshot // what the pipelines have
	filled    bool         // there is a newest snapshot
	stale     bool         // it is of an earlier run
	recent    liveCounts   // of the snapshots that the pipelines had recently
	hold      *hold        // nil if no snapshot is held
	problem   string       // why Watch failed; empty while it runs

	inspector inspector
	findings  findings // of the newest snapshot that was emitted
}

// A hold is a snapshot that the guard keeps from the pipelines.
type hold struct {
	Held
	snapshot sdk.Snapshot // the newest one
	timer    *time.Timer  // releases it
}

// restore takes over the snapshot of an earlier run of the daemon, until the source emits one. If the state store has none,
// restore tries again with the next call, because reading may have failed.
func (s *source) restore() {
	if _, ok := s.latest(); ok || s.restored {
		return
	}
	snap, ok := s.store.Snapshot(s.name)
	if !ok {
		return
	}
	s.restored = true
	snap = s.quarantine(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passOn(snap)
	s.stale = true
	s.log.Info("using the snapshot of an earlier run until the source emits one", "taken", snap.Taken, "live", countLive(snap))
}

// run watches the source until ctx is done. If that fails, it watches again after a while; the newest snapshot stays in use.
func (s *source) run(ctx context.Context) {
	impl := s.implementation()
	retries := backoff.NewExponentialBackOff()
	retries.MaxInterval = time.Minute
	for {
		began := time.Now()
		s.setProblem("")
		err := impl.Watch(ctx, s.emit)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retries.MaxInterval {
			retries.Reset()
		}
		err = cmp.Or(err, errWatchEnded)
		wait := retries.NextBackOff()
		s.failed.Error(s.log, "watching the source failed, retrying", err, "retry_in", wait)
		s.setProblem(fmt.Sprintf("watching the source failed, retrying: %v", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// errWatchEnded is the error of a source whose Watch returned without one.
var errWatchEnded = errors.New("the source ended by itself")

// emit passes snap to the pipelines unless the guard holds it.
func (s *source) emit(snap sdk.Snapshot) {
	s.failed.Resolve(s.log, "source emits snapshots again")
	snap = s.quarantine(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := ""
	if s.filled {
		reason = s.holdReason(snap)
	}
	s.observer.SnapshotReceived(snap, reason != "")
	if reason != "" {
		s.holdBack(snap, reason)
		return
	}
	s.endHold("the source has recovered")
	s.accept(snap)
}

// holdReason returns why the guard holds snap, or "".
func (s *source) holdReason(snap sdk.Snapshot) string {
	return s.guard.holdReason(s.recent.max(time.Now().Add(-s.guard.Hold)), countLive(snap))
}

// lacksTooMuch reports whether the guard holds a snapshot with has live instances after one that had more.
func (s *source) lacksTooMuch(had, has int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guard.holdReason(had, has) != ""
}

// The methods from here to endHold are called with the lock held, so that snapshots stay in order.

func (s *source) accept(snap sdk.Snapshot) {
	s.passOn(snap)
	s.stale = false
	s.store.SaveSnapshot(s.name, snap)
}

func (s *source) passOn(snap sdk.Snapshot) {
	s.newest, s.filled = snap, true
	now := time.Now()
	s.recent = s.recent.add(now, now.Add(-s.guard.Hold), countLive(snap))
	for _, p := range s.pipelines {
		p.snapshots.put(snap)
	}
}

// holdBack keeps snap from the pipelines. Later snapshots that are held do not extend the time.
func (s *source) holdBack(snap sdk.Snapshot, reason string) {
	if s.hold != nil {
		s.hold.snapshot, s.hold.Reason = snap, reason
		return
	}
	s.hold = &hold{Held: Held{Reason: reason, Since: time.Now()}, snapshot: snap}
	s.startHoldTimer()
	s.reportHeld(true)
	s.log.Warn("snapshot held; POST /api/v1/pipelines/NAME/release releases it", "reason", reason, "until", s.hold.Until)
}

// startHoldTimer releases the held snapshot when the guard's time is over. A timer that was started before has no effect any
// more.
func (s *source) startHoldTimer() {
	h := *s.hold
	h.Until = h.Since.Add(s.guard.Hold)
	s.hold = &h
	h.timer = time.AfterFunc(time.Until(h.Until), func() { s.release(&h, "its time is over") })
}

// endHold drops the held snapshot, if there is one.
func (s *source) endHold(why string) {
	if s.hold == nil {
		return
	}
	s.hold.timer.Stop()
	s.log.Info("snapshot no longer held", "why", why, "held_for", time.Since(s.hold.Since).Round(time.Millisecond))
	s.hold = nil
	s.reportHeld(false)
}

// release passes the held snapshot to the pipelines, unless it belongs to another hold than which; nil is any. It reports whether
// it did.
func (s *source) release(which *hold, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil || which != nil && which != s.hold {
		return false
	}
	snap := s.hold.snapshot
	s.endHold(why)
	s.recent = nil // snapshots before this one no longer count
	s.accept(snap)
	return true
}

func (s *source) implementation() sdk.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.impl
}

// connect sets the implementation, the guard and the pipelines. The source must have stopped if the implementation changes.
// Pipelines that are new to it get the newest snapshot.
func (s *source) connect(cfg SourceConfig, own ownAddresses, pipelines []*pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.inspector.own.listening, own.listening) {
		s.inspector = inspector{own: own}
	}
	for _, p := range pipelines {
		if slices.Contains(s.pipelines, p) {
			continue
		}
		s.observer.Held(p.name, s.hold != nil)
		if s.filled {
			p.snapshots.fill(s.newest)
			p.resumed.raise()
		}
	}
	changed := s.guard != cfg.Guard
	s.impl, s.guard, s.pipelines = cfg.Source, cfg.Guard, pipelines
	if changed && s.hold != nil {
		s.reconsiderHold()
	}
}

// reconsiderHold applies a guard that has changed to the held snapshot.
func (s *source) reconsiderHold() {
	snap := s.hold.snapshot
	reason := s.holdReason(snap)
	if reason == "" {
		s.endHold("the changed guard does not hold it")
		s.accept(snap)
		return
	}
	s.hold.timer.Stop()
	s.hold.Reason = reason
	s.startHoldTimer()
}

func (s *source) reportHeld(held bool) {
	for _, p := range s.pipelines {
		s.observer.Held(p.name, held)
	}
}

// stopTimer is for a source that does not run any more.
func (s *source) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		s.hold.timer.Stop()
	}
}

func (s *source) setProblem(problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = problem
}

// latest returns the newest snapshot, and false if there is none yet.
func (s *source) latest() (sdk.Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.filled
}

// addStatus adds to status what the source knows.
func (s *source) addStatus(status *PipelineStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Quarantined, status.Dropped = s.findings.quarantined, s.findings.dropped
	if s.hold != nil {
		held := s.hold.Held
		status.Held = &held
	}
	if s.stale {
		status.StaleSince = s.newest.Taken
	}
}

// health returns the health that the source reports, with the problem that Watch has failed.
func (s *source) health(ctx context.Context) sdk.Health {
	var health sdk.Health
	if reporter, ok := s.implementation().(sdk.Reporter); ok {
		var err error
		if health, err = reporter.Health(ctx); err != nil {
			health.Problems = append(health.Problems, "getting the source's health failed: "+err.Error())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != "" {
		health.Problems = append(health.Problems, s.problem)
	}
	return health
}
