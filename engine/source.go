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

	"github.com/haproxy-api/haproxy-api/engine/history"
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

	mu        sync.Mutex // also keeps the snapshots in order; methods with the suffix Locked require it
	impl      sdk.Source
	typ       string // see [SourceConfig.Type]
	guard     Guard
	pipelines []*pipeline
	newest    sdk.Snapshot       // what the pipelines have
	filled    bool               // there is a newest snapshot
	counts    map[string]int     // the instances of the newest snapshot by status
	instances []ServiceInstances // of the newest snapshot; never modified
	received  received           // the newest snapshot that was emitted
	stale     bool               // it is of an earlier run
	recent    liveCounts         // of the snapshots that the pipelines had recently
	hold      *hold              // nil if no snapshot is held
	problem   string             // why Watch failed; empty while it runs

	healthCalls healthCalls

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
	s.passOnLocked(snap, causeNow(history.TriggerStart, ""))
	s.stale = true
	s.log.Info("using the snapshot of an earlier run until the source emits one", "taken", snap.Taken,
		"instances", countLive(snap))
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
		s.failed.Error(s.log, "watching the source failed, retrying", err, "retry_in", wait.Round(time.Millisecond))
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
	cause := causeOf(snap)
	snap = s.quarantine(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.reportStatusLocked()
	s.received = received{time.Now(), snap.Cause, snap.Sender}
	reason := ""
	if s.filled {
		reason = s.holdReasonLocked(snap)
	}
	s.observer.SnapshotReceived(snap, reason != "")
	if reason != "" {
		s.holdBackLocked(snap, reason)
		return
	}
	s.endHoldLocked("the source has recovered")
	s.acceptLocked(snap, cause)
}

// holdReasonLocked returns why the guard holds snap, or "".
func (s *source) holdReasonLocked(snap sdk.Snapshot) string {
	return s.guard.holdReason(s.recent.max(time.Now().Add(-s.guard.Hold)), countLive(snap))
}

// wouldHold reports whether the guard holds a snapshot with after live instances if the previous one had before of them.
func (s *source) wouldHold(before, after int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guard.holdReason(before, after) != ""
}

// acceptLocked passes snap to the pipelines and saves it.
func (s *source) acceptLocked(snap sdk.Snapshot, cause cause) {
	s.passOnLocked(snap, cause)
	s.stale = false
	s.store.SaveSnapshot(s.name, snap)
}

// passOnLocked makes snap the newest snapshot of the source and of its pipelines.
func (s *source) passOnLocked(snap sdk.Snapshot, cause cause) {
	if s.filled {
		s.instances = withSince(s.instances, snap)
	} else {
		s.instances = firstSince(snap)
	}
	s.newest, s.filled, s.counts = snap, true, countByStatus(snap)
	now := time.Now()
	s.recent = s.recent.add(now, now.Add(-s.guard.Hold), s.counts[sdk.Alive.Name()])
	for _, p := range s.pipelines {
		p.snapshots.put(causedSnapshot{snap, cause})
	}
}

// holdBackLocked keeps snap from the pipelines. Later snapshots that are held do not extend the time.
func (s *source) holdBackLocked(snap sdk.Snapshot, reason string) {
	if s.hold != nil {
		s.hold.snapshot, s.hold.Reason = snap, reason
		return
	}
	s.hold = &hold{Held: Held{Reason: reason, Since: time.Now()}, snapshot: snap}
	s.startHoldTimerLocked()
	s.log.Warn("snapshot held; POST /api/v1/pipelines/NAME/release releases it", "reason", reason, "until", s.hold.Until)
}

// startHoldTimerLocked releases the held snapshot when the guard's time is over. A timer that was started earlier no longer has
// an effect.
func (s *source) startHoldTimerLocked() {
	h := *s.hold
	h.Until = h.Since.Add(s.guard.Hold)
	s.hold = &h
	h.timer = time.AfterFunc(time.Until(h.Until), func() { s.release(&h, "its time is over") })
}

// endHoldLocked drops the held snapshot, if there is one.
func (s *source) endHoldLocked(why string) {
	if s.hold == nil {
		return
	}
	s.hold.timer.Stop()
	s.log.Info("snapshot no longer held", "reason", why, "took", time.Since(s.hold.Since).Round(time.Millisecond))
	s.hold = nil
}

// release passes the held snapshot to the pipelines if it belongs to which; nil stands for any hold. It reports whether it did.
func (s *source) release(which *hold, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil || which != nil && which != s.hold {
		return false
	}
	snap := s.hold.snapshot
	s.endHoldLocked(why)
	s.recent = nil // snapshots before this one no longer count
	s.acceptLocked(snap, causeNow(history.TriggerRelease, why))
	s.reportStatusLocked()
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
		if s.filled {
			p.snapshots.fill(causedSnapshot{s.newest, causeNow(history.TriggerConfig, "")})
			p.resumed.raise()
		}
	}
	changed := s.guard != cfg.Guard
	s.impl, s.typ, s.guard, s.pipelines = cfg.Source, cfg.Type, cfg.Guard, pipelines
	if changed && s.hold != nil {
		s.reconsiderHoldLocked()
	}
}

// reconsiderHoldLocked applies a guard that has changed to the held snapshot.
func (s *source) reconsiderHoldLocked() {
	snap := s.hold.snapshot
	reason := s.holdReasonLocked(snap)
	if reason == "" {
		const why = "the changed guard does not hold it"
		s.endHoldLocked(why)
		s.acceptLocked(snap, causeNow(history.TriggerRelease, why))
		return
	}
	s.hold.timer.Stop()
	s.hold.Reason = reason
	s.startHoldTimerLocked()
}

// stopTimer stops the timer of a source that no longer runs.
func (s *source) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		s.hold.timer.Stop()
	}
}

// reportStatusLocked tells the observer that the status of the source has changed, which is a part of that of its pipelines.
func (s *source) reportStatusLocked() {
	for _, p := range s.pipelines {
		s.observer.StatusChanged(p.name)
	}
}

func (s *source) setProblem(problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = problem
	s.reportStatusLocked()
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
	status.Held = s.heldLocked()
	if s.stale {
		status.StaleSince = s.newest.Taken
	}
}

// health returns the health that the source reports, with the problem that Watch has failed. It returns at the latest when ctx is
// done.
func (s *source) health(ctx context.Context) sdk.Health {
	var health sdk.Health
	if reporter, ok := s.implementation().(sdk.Reporter); ok {
		var answered bool
		if health, answered = s.healthCalls.call(ctx, reporter); !answered {
			health.Problems = []string{"the source does not answer"}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != "" {
		health.Problems = append(health.Problems, s.problem)
	}
	return health
}
