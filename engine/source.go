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

// source runs one sdk.Source and hands what it emits to the pipelines that it feeds, unless its guard holds it. It stays, with
// what was said last, when another sdk.Source takes over under its name.
type source struct {
	name     string
	store    StateStore
	log      *slog.Logger
	observer Observer
	running
	gaveUp   logdedup.Fault // and has emitted nothing since
	recalled bool           // what an earlier run left behind was asked for; for the goroutine of [Engine.Run]

	mu        sync.Mutex
	impl      sdk.Source
	guard     Guard
	pipelines []*pipeline
	newest    sdk.Snapshot // that the pipelines have
	levels    levels       // of those that they had lately
	filled    bool
	stale     bool         // newest is from an earlier run
	held      *Held        // nil for nothing
	waiting   sdk.Snapshot // the newest one that is held
	letGo     *time.Timer  // nil unless something is held
	trouble   string       // why the source gave up; empty while it watches

	inspector inspector
	found     findings // in the newest one that came
}

// recall takes up what an earlier run of the daemon left behind, until the source has something newer.
func (s *source) recall() {
	if _, known := s.latest(); known || s.recalled {
		return
	}
	snap, ok := s.store.Snapshot(s.name)
	if !ok {
		return // and asked for again with the next start: it may be there and could not be read
	}
	s.recalled = true
	snap = s.admit(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(snap)
	s.stale = true
	s.log.Info("the catalogue as it was last is used until the source tells anything", "taken", snap.Taken,
		"live", live(snap))
}

// run watches until ctx is done. A source that gives up is asked again after a while, and meanwhile what it said last holds.
func (s *source) run(ctx context.Context) {
	impl := s.implementation()
	pace := backoff.NewExponentialBackOff()
	pace.MaxInterval = time.Minute
	for {
		began := time.Now()
		s.setTrouble("")
		err := impl.Watch(ctx, s.emit)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > pace.MaxInterval {
			pace.Reset()
		}
		err = cmp.Or(err, errEnded)
		wait := pace.NextBackOff()
		s.gaveUp.Error(s.log, "source gave up and is asked again", err, "again_in", wait)
		s.setTrouble(fmt.Sprintf("the source gave up and is asked again: %v", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// errEnded is why a source gave up that returned without an error.
var errEnded = errors.New("it ended by itself")

func (s *source) emit(snap sdk.Snapshot) {
	s.gaveUp.Resolve(s.log, "source emits snapshots again")
	snap = s.admit(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := ""
	if s.filled {
		reason = s.objection(snap)
	}
	s.observer.SnapshotReceived(snap, reason != "")
	if reason != "" {
		s.hold(snap, reason)
		return
	}
	s.release("the catalogue has recovered")
	s.accept(snap)
}

// objection says why snap shall not be used at once, or nothing.
func (s *source) objection(snap sdk.Snapshot) string {
	return s.guard.objection(s.levels.peak(time.Now().Add(-s.guard.Hold)), live(snap))
}

// lacksTooMuch reports whether losing so many live instances at once is more than the guard lets through.
func (s *source) lacksTooMuch(had, has int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guard.objection(had, has) != ""
}

// accept passes snap on, and so do take and hold below: all of them under the lock, so that no two snapshots change places.
func (s *source) accept(snap sdk.Snapshot) {
	s.take(snap)
	s.stale = false
	s.store.SaveSnapshot(s.name, snap)
}

func (s *source) take(snap sdk.Snapshot) {
	s.newest, s.filled = snap, true
	now := time.Now()
	s.levels = s.levels.accepted(now, now.Add(-s.guard.Hold), live(snap))
	for _, p := range s.pipelines {
		p.snapshots.put(snap)
	}
}

// hold keeps snap back. The first one that is held sets the time.
func (s *source) hold(snap sdk.Snapshot, reason string) {
	s.waiting = snap
	if s.held != nil {
		s.held.Reason = reason
		return
	}
	s.held = &Held{Reason: reason, Since: time.Now()}
	s.setTime()
	s.tellHeld(true)
	s.log.Warn("the newest catalogue is held; POST /api/v1/pipelines/NAME/release lets it through",
		"reason", reason, "until", s.held.Until)
}

// setTime has what is held let through when its time is up. A timer that was set before lets nothing through any more.
func (s *source) setTime() {
	held := *s.held
	held.Until = held.Since.Add(s.guard.Hold)
	s.held = &held
	s.letGo = time.AfterFunc(time.Until(held.Until), func() { s.letThrough(&held, "its time is up") })
}

// letThrough lets the held snapshot through, unless it is another hold than that; nil is any. It reports whether it did.
func (s *source) letThrough(which *Held, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil || which != nil && which != s.held {
		return false
	}
	snap := s.waiting
	s.release(why)
	s.levels = nil // what was before it does not count any more
	s.accept(snap)
	return true
}

// release ends the holding, if any.
func (s *source) release(why string) {
	if s.held == nil {
		return
	}
	s.letGo.Stop()
	s.log.Info("the catalogue is no longer held", "why", why, "held_for", time.Since(s.held.Since).Round(time.Millisecond))
	s.held, s.waiting, s.letGo = nil, sdk.Snapshot{}, nil
	s.tellHeld(false)
}

func (s *source) implementation() sdk.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.impl
}

// connect makes cfg the source, which has to be stopped if it was another one, and has it feed the pipelines from now on. Those
// that are new to it get what was said last.
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
		s.observer.Held(p.name, s.held != nil)
		if s.filled {
			p.snapshots.fill(s.newest)
			p.resumed.raise()
		}
	}
	changed := s.guard != cfg.Guard
	s.impl, s.guard, s.pipelines = cfg.Source, cfg.Guard, pipelines
	if changed && s.held != nil {
		s.judgeAgain()
	}
}

// judgeAgain is for a guard that was changed while something is held: it goes by what is wanted now.
func (s *source) judgeAgain() {
	snap := s.waiting
	reason := s.objection(snap)
	if reason == "" {
		s.release("the guard that is configured now does not object")
		s.accept(snap)
		return
	}
	s.letGo.Stop()
	s.held.Reason = reason
	s.setTime()
}

func (s *source) tellHeld(held bool) {
	for _, p := range s.pipelines {
		s.observer.Held(p.name, held)
	}
}

// stopTimer is for a source that is not run any more.
func (s *source) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.letGo != nil {
		s.letGo.Stop()
	}
}

func (s *source) setTrouble(words string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = words
}

func (s *source) latest() (sdk.Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest, s.filled
}

// report adds to status what is to be said of the pipeline's source.
func (s *source) report(status *PipelineStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Quarantined, status.Dropped = s.found.quarantined, s.found.dropped
	if s.held != nil {
		held := *s.held
		status.Held = &held
	}
	if s.stale {
		status.StaleSince = s.newest.Taken
	}
}

// health returns what the source says of itself, and that it gave up.
func (s *source) health(ctx context.Context) sdk.Health {
	var health sdk.Health
	if reporter, ok := s.implementation().(sdk.Reporter); ok {
		var err error
		if health, err = reporter.Health(ctx); err != nil {
			health.Problems = append(health.Problems, "the source cannot tell how it is: "+err.Error())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble != "" {
		health.Problems = append(health.Problems, s.trouble)
	}
	return health
}
