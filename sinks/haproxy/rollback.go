package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// A failedLoad is a document that passed the check and that HAProxy then failed to load, or did not stay up with.
type failedLoad struct {
	doc *document
	err error // an [sdk.ErrNotLoaded]
}

// recordFailedLoad keeps doc, and documents that HAProxy would load no better, from being loaded until somebody wants a retry.
func (s *Sink) recordFailedLoad(doc *document, cause error) error {
	s.reloadLimit.recordFailure()
	failed := failedLoad{doc, sdk.NotLoaded(cause)}
	s.update(func(st *state) { st.failedLoad = failed })
	return failed.err
}

// failedBefore returns the error of the last failed load where doc differs from that document in nothing that needs a reload: it
// would fail in the same way, and each load that fails may interrupt HAProxy. Where the process that tried it has ended since,
// the daemon knows that there was one, and doc stands for it.
func (s *Sink) failedBefore(doc *document) error {
	failed := s.state.Load().failedLoad
	if failed.doc == nil && doc.failure != "" && !doc.retry {
		failed = failedLoad{doc, sdk.NotLoaded(errors.New(doc.failure))}
		s.update(func(st *state) { st.failedLoad = failed })
	}
	if failed.doc == nil || doc.retry || compare(failed.doc, doc).need == needReload {
		return nil
	}
	return failed.err
}

// rollBackEnded is rollBack where no HAProxy runs. The caller holds neither s.files nor s.change.
func (s *Sink) rollBackEnded(ctx context.Context) error {
	if s.state.Load().running.Alive() {
		return nil
	}
	if err := s.lockFiles(ctx); err != nil {
		return err
	}
	defer s.unlockFiles()
	s.change.Lock()
	defer s.change.Unlock()
	ctx, release := s.untilStopped(ctx)
	defer release()
	if now, err := s.controller.Find(ctx); err == nil && now.None() {
		s.rollBack(ctx)
	}
	return nil
}

// rollBack puts back what HAProxy last stayed up with, on disk and in the process, and reports that to the daemon, where HAProxy
// has ended soon after it loaded something else. It returns false where that is not so. The caller holds s.files and s.change,
// and no HAProxy runs.
func (s *Sink) rollBack(ctx context.Context) bool {
	st := s.state.Load()
	content, proven := st.desired, st.stable
	if content == nil || proven == nil || compare(proven, content).need != needReload {
		return false
	}
	cause := s.recordFailedLoad(content, &process.LoadError{
		Message: fmt.Sprintf("HAProxy ended within %v after it loaded the configuration, and the previous one was put back",
			time.Since(st.since).Round(100*time.Millisecond)),
		Log: s.controller.Log(),
	})
	s.log.Error("HAProxy did not stay up after a change; putting the previous configuration back", "error", cause)
	s.update(func(st *state) { st.expect(proven) })
	if err := s.loadAgain(ctx, proven); err != nil && ctx.Err() == nil {
		s.log.Error("HAProxy cannot be started with the previous configuration", "error", err)
		s.update(func(st *state) { st.startErr = err })
	}
	s.lost(sdk.Lost{Err: cause, Generation: proven.generation, Digest: content.digest})
	return true
}

// loadAgain writes doc, which was in effect before, and has HAProxy load it.
func (s *Sink) loadAgain(ctx context.Context, doc *document) error {
	s.update(func(st *state) { st.load(false) })
	defer s.update(func(st *state) { st.loadingSince = time.Time{} })
	if err := s.restoreFiles(doc.files); err != nil {
		return err
	}
	r, err := s.load(ctx, doc)
	if err != nil {
		return err
	}
	s.recordApplied(doc, r.Instance)
	s.correctLoaded(ctx, doc, r.Instance)
	return nil
}

func generationOf(doc *document) uint64 {
	if doc == nil {
		return 0
	}
	return doc.generation
}
