package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
)

// A change at run time is persisted afterwards: HAProxy's own check reads the document, and it is written to disk, so that a
// later start brings the same. HAProxy may be changed again meanwhile.
const (
	// persistDelay is how long after a change it is persisted, so that changes that come together are persisted together.
	persistDelay = 100 * time.Millisecond
	// persistInterval is the least time from the beginning of one run to the next.
	persistInterval = time.Second
	// persistShare bounds the share of the time that persisting takes, to 1/persistShare. A check takes one processor.
	persistShare = 10
)

// requestPersist wakes the persist loop.
func (s *Sink) requestPersist() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// persistLoop persists changes until ctx is done.
func (s *Sink) persistLoop(ctx context.Context) {
	paced(ctx, s.changed, func() bool { return s.state.Load().unpersisted() != nil }, func() time.Duration {
		if s.lockFiles(ctx) != nil {
			return 0
		}
		defer s.unlockFiles()
		began := time.Now() // after the wait for the lock
		s.persist(ctx)
		return time.Since(began)
	})
}

// paced calls run for each request until ctx is done, and again while pending returns true: persistDelay after the request, not
// before persistInterval has passed since the last run began, and for no more than one in persistShare of the time. run returns
// how long it took. A run that failed leaves something pending, so failures are retried at the same pace.
func paced(ctx context.Context, requests <-chan struct{}, pending func() bool, run func() (took time.Duration)) {
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-requests:
		}
		for pending() {
			sleep(ctx, max(persistDelay, time.Until(next)))
			if ctx.Err() != nil {
				return
			}
			took := run()
			next = time.Now().Add(max(persistInterval, persistShare*took) - took)
		}
	}
}

// persist calls persistPending and records a failure, which Health reports until what runs is on disk. The caller holds
// s.files and not s.change.
func (s *Sink) persist(ctx context.Context) {
	ctx, release := s.orStopped(ctx)
	defer release()
	if err := s.persistPending(ctx); err != nil && ctx.Err() == nil {
		s.lockedUpdate(func(st *state) { st.persistErr = err })
	}
}

// persistPending checks what HAProxy was changed to and writes it to disk. A change that the check rejects is reverted. What
// HAProxy is changed to meanwhile stays pending. The caller holds s.files and not s.change.
func (s *Sink) persistPending(ctx context.Context) error {
	doc := s.state.Load().unpersisted()
	if doc == nil {
		return nil
	}
	defer report.Step(ctx, "persist")()
	if err := s.fileLock.Ensure(); err != nil {
		return err
	}
	err := s.checkAndCommit(ctx, doc)
	if err == nil {
		s.lockedUpdate(func(st *state) { st.persist(doc) })
		return nil
	}
	if !errors.Is(err, sdk.ErrRejected) {
		return err
	}
	if s.rejects(ctx, s.state.Load().onDisk) {
		// What the check rejects is not part of the change, so that reverting the change would not help. This is no rejection
		// of the document.
		return errors.New("the check rejects the configuration on disk as well: " + err.Error())
	}
	s.change.Lock()
	defer s.change.Unlock()
	s.update(func(st *state) { st.checkFirst = true })
	if s.state.Load().unpersisted() == doc {
		s.revert(ctx, doc, err)
	}
	// What has replaced doc meanwhile may be rejected for the same reason. It is pending, and the document after it is checked
	// before HAProxy is changed to it.
	return nil
}

// rejects reports whether the check rejects doc, which it accepted before.
func (s *Sink) rejects(ctx context.Context, doc *document) bool {
	if doc == nil {
		return false
	}
	staged, _, err := s.stageAndCheck(ctx, doc, false)
	if staged != nil {
		staged.Discard()
	}
	return errors.Is(err, sdk.ErrRejected)
}

// checkAndCommit checks doc and writes it to disk. The caller holds s.files.
func (s *Sink) checkAndCommit(ctx context.Context, doc *document) error {
	staged, _, err := s.stageAndCheck(ctx, doc, false)
	if err != nil {
		return err
	}
	defer staged.Discard()
	return s.commit(ctx, staged)
}

// revert undoes the runtime change to doc, which the check has rejected afterwards: HAProxy must run what it would run after a
// restart. The caller holds s.files and s.change.
func (s *Sink) revert(ctx context.Context, doc *document, cause error) {
	disk := s.state.Load().onDisk
	cause = fmt.Errorf("HAProxy accepted servers at run time that its check rejects, and they were reverted: %w", cause)
	s.log.Error("reverting a change at run time", "error", cause)
	p := planChange(doc, disk)
	s.update(func(st *state) { st.desired, st.persistErr, st.revertErr = disk, nil, cause })
	lost := sdk.Lost{Err: cause, Generation: disk.generation, Digest: doc.digest}
	var err error
	if p.need == needRuntime {
		lost.Commands, err = s.client.Reconcile(ctx, doc.config, disk.config, p.backends)
	}
	if p.need != needRuntime || err != nil { // the supervisor reloads HAProxy
		s.update(func(st *state) { st.invalidate(st.running, "a change at run time has to be reverted") })
	}
	s.lost(lost)
}

// persistBeforeLoad persists what HAProxy was changed to at run time before HAProxy loads something, which would lose the
// change. It returns false if HAProxy must not load anything for now, because it serves what cannot be written yet. A change
// that cannot be written is lost if HAProxy does not serve. The caller holds s.files and not s.change.
func (s *supervisor) persistBeforeLoad(ctx context.Context) bool {
	st := s.state.Load()
	doc, disk := st.desired, st.onDisk
	if doc == disk {
		return true
	}
	serves := st.running.Alive() && process.WhyNotServing(s.controller.ServingPid(st.running)) == ""
	if serves && time.Now().Before(s.nextPersist) {
		return false
	}
	began := time.Now()
	err := s.checkAndCommit(ctx, doc)
	switch {
	case err == nil:
		s.lockedUpdate(func(st *state) { st.persist(doc) })
		return true
	case ctx.Err() != nil:
		return true
	case serves && (!errors.Is(err, sdk.ErrRejected) || s.rejects(ctx, disk)):
		s.lockedUpdate(func(st *state) { st.persistErr = err })
		s.nextPersist = time.Now().Add(max(persistInterval, persistShare*time.Since(began)))
		return false
	}
	err = fmt.Errorf("the last change at run time is lost with the HAProxy that ended: %w", err)
	s.log.Error("lost a change at run time", "error", err)
	s.lockedUpdate(func(st *state) { st.desired, st.persistErr, st.checkFirst = st.onDisk, nil, true })
	s.lost(sdk.Lost{Err: err, Generation: generationOf(disk), Digest: doc.digest})
	return true
}
