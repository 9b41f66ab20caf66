package haproxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// A failedLoad is a document that passed the check, and that HAProxy did not load or did not stay up with.
type failedLoad struct {
	doc *document
	err error // an [sdk.ErrNotLoaded]
}

// recordFailedLoad records that HAProxy failed to load doc. It returns cause as an [sdk.ErrNotLoaded]. The caller holds s.change.
func (s *Sink) recordFailedLoad(doc *document, cause error) error {
	s.reloadLimit.recordFailure()
	failed := failedLoad{doc, sdk.NotLoaded(cause)}
	s.update(func(st *state) { st.failedLoad = failed })
	return failed.err
}

// failedBefore returns the error of the last failed load if doc differs from that document in nothing that needs a reload: it
// would fail in the same way, and each load that fails may interrupt HAProxy. A document that the daemon wants to be retried is
// loaded. If the load failed in a process that has ended since, the daemon says so, and doc stands for the document that failed.
// The caller holds s.change.
func (s *Sink) failedBefore(doc *document) error {
	failed := s.state.Load().failedLoad
	if failed.doc == nil && doc.failure != "" && !doc.retry {
		failed = failedLoad{doc, sdk.NotLoaded(errors.New(doc.failure))}
		s.update(func(st *state) { st.failedLoad = failed })
	}
	if failed.doc == nil || doc.retry || planChange(failed.doc, doc).need == needReload {
		return nil
	}
	return failed.err
}

// rollBackEnded is rollBack if no HAProxy runs. The caller holds neither s.files nor s.change.
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
	ctx, release := s.contextUntilStop(ctx)
	defer release()
	if now, err := s.controller.Find(ctx); err == nil && now.None() {
		s.reportCrash()
		s.rollBack(ctx)
	}
	return nil
}

// rollBack restores the document that HAProxy last stayed up with, on disk and in HAProxy, if HAProxy has ended soon after it
// loaded another one. It reports the other one to the daemon as lost. It returns false if HAProxy has ended for another reason.
// No HAProxy runs, and the caller holds s.files and s.change.
func (s *Sink) rollBack(ctx context.Context) bool {
	st := s.state.Load()
	failed, stable := st.desired, st.stable
	if failed == nil || stable == nil || planChange(stable, failed).need != needReload {
		return false
	}
	cause := s.recordFailedLoad(failed, &process.LoadError{
		Message: fmt.Sprintf("HAProxy ended within %v after it loaded the configuration, and the previous one was restored",
			time.Since(st.since).Round(100*time.Millisecond)),
		Log: s.controller.Log(),
	})
	s.log.Error("HAProxy did not stay up after a change; restoring the previous configuration", "error", cause)
	s.update(func(st *state) { st.expect(stable) })
	if loaded, err := s.restoreAndLoad(ctx, stable); err == nil {
		s.reportRestored(stable, loaded)
		s.log.Info("HAProxy serves again", pidAttrs(s.state.Load().running)...)
	} else if ctx.Err() == nil {
		s.starting.Error(s.log, "HAProxy cannot be started with the previous configuration", err)
		s.update(func(st *state) { st.startErr = err })
	}
	s.lost(sdk.Lost{
		Err: cause, Generation: stable.generation, Digest: failed.digest, Details: lastLines(process.LogOf(cause)),
	})
	return true
}

// restoreAndLoad writes doc, which was applied before, and starts HAProxy with it.
func (s *Sink) restoreAndLoad(ctx context.Context, doc *document) (process.LoadResult, error) {
	defer s.beginLoad(false)()
	if _, err := s.restoreFiles(doc.files); err != nil {
		return process.LoadResult{}, err
	}
	return s.load(ctx, doc)
}

func generationOf(doc *document) uint64 {
	if doc == nil {
		return 0
	}
	return doc.generation
}
