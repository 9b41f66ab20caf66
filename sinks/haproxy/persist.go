package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// What HAProxy was changed to at run time is persisted: HAProxy's own check reads it, and it is written to disk, so that a later
// start brings the same. Meanwhile HAProxy may be changed again.
const (
	// persistDelay is how long after a change it is persisted, so that changes that come together are persisted together.
	persistDelay = 100 * time.Millisecond
	// persistInterval is the least time from one beginning to the next.
	persistInterval = time.Second
	// persistShare bounds the part of the time that persisting takes, to one of so many. A check takes one processor.
	persistShare = 10
)

// requestPersist has the persist loop run.
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
		began := time.Now() // not while somebody else loaded a document
		s.persist(ctx)
		return time.Since(began)
	})
}

// paced calls run for each request until ctx is done, and again while pending says that something is left: persistDelay after
// the request, not before persistInterval has passed since it last began, and for no more than one in persistShare of the time.
// run returns how long it took. One that failed leaves something, so failures are retried at the same pace.
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

// persist is persistPending, and Health tells of a failure until what runs is on disk. The caller holds s.files and not s.change.
func (s *Sink) persist(ctx context.Context) {
	ctx, release := s.orStopped(ctx)
	defer release()
	if err := s.persistPending(ctx); err != nil && ctx.Err() == nil {
		s.lockedUpdate(func(st *state) { st.persistErr = err })
	}
}

// persistPending checks what HAProxy was changed to and writes it to disk. What the check refuses is taken back. What HAProxy is
// changed to meanwhile stays pending. The caller holds s.files and not s.change.
func (s *Sink) persistPending(ctx context.Context) error {
	doc := s.state.Load().unpersisted()
	if doc == nil {
		return nil
	}
	if err := s.fileLock.Ensure(); err != nil {
		return err
	}
	err := s.install(ctx, doc)
	if err == nil {
		s.lockedUpdate(func(st *state) { st.persist(doc) })
		return nil
	}
	if !errors.Is(err, sdk.ErrRejected) {
		return err
	}
	if s.rejects(ctx, s.state.Load().onDisk) {
		// Whatever the check refuses is not among what was changed, and taking that back would not help.
		return &pendingError{fmt.Errorf("the check refuses the configuration that was in effect before as well: %w", err)}
	}
	s.change.Lock()
	defer s.change.Unlock()
	s.update(func(st *state) { st.checkFirst = true })
	if s.state.Load().unpersisted() == doc {
		s.takeBack(ctx, doc, err)
	}
	// What has replaced doc meanwhile may be refused for the same reason. It is pending, and the document after it is checked
	// before HAProxy is changed to it.
	return nil
}

// A pendingError says why what runs cannot be written to disk yet. It is not a rejection of the document.
type pendingError struct{ cause error }

func (e *pendingError) Error() string { return e.cause.Error() }

// rejects reports whether the check refuses doc too, which it accepted before.
func (s *Sink) rejects(ctx context.Context, doc *document) bool {
	if doc == nil {
		return false
	}
	st, _, err := s.stageAndCheck(ctx, doc, false)
	if st != nil {
		st.Discard()
	}
	return errors.Is(err, sdk.ErrRejected)
}

// install has doc checked and puts it in place. The caller holds s.files.
func (s *Sink) install(ctx context.Context, doc *document) error {
	st, _, err := s.stageAndCheck(ctx, doc, false)
	if err != nil {
		return err
	}
	defer st.Discard()
	return s.commit(ctx, st)
}

// takeBack undoes a change at run time that the check refuses afterwards: what runs must be what a restart would bring. The
// caller holds s.files and s.change.
func (s *Sink) takeBack(ctx context.Context, doc *document, cause error) {
	disk := s.state.Load().onDisk
	cause = fmt.Errorf("HAProxy took servers at run time that its check refuses, and they were taken back: %w", cause)
	s.log.Error("a change is taken back", "error", cause)
	back := compare(doc, disk)
	s.update(func(st *state) { st.desired, st.persistErr, st.revertErr = disk, nil, cause })
	defer s.lost(sdk.Lost{Err: cause, Generation: disk.generation, Digest: doc.digest})
	if back.need == needRuntime {
		if _, err := s.client.Reconcile(ctx, doc.config, disk.config, back.backends); err == nil {
			return
		}
	}
	s.update(func(st *state) { st.invalidate(st.running) }) // a reload has to help
}
