package haproxy

import "context"

// The files beside HAProxy have a lock of their own. A disk may be slow and a check may take long, and a change at run time needs
// neither: it holds Sink.change alone. Who loads files into HAProxy holds both, Sink.files first.

// lockFiles waits until nobody else writes files or has HAProxy load them. It returns an error when ctx is done before that.
// After it comes [Sink.unlockFiles].
func (s *Sink) lockFiles(ctx context.Context) error {
	if err := s.files.Acquire(ctx, 1); err != nil {
		return interrupted(context.Cause(ctx))
	}
	return nil
}

// tryLockFiles is lockFiles for those who have another chance soon. It reports whether it was successful.
func (s *Sink) tryLockFiles() bool { return s.files.TryAcquire(1) }

// unlockFiles writes the state file of what is in effect by now, removes companions that are not needed any more, and lets the next
// one write. The caller no longer holds Sink.change.
func (s *Sink) unlockFiles() {
	s.updateStateFile()
	s.removeObsolete(s.state.Load().running)
	if err := s.state.Load().persistErr; err != nil {
		s.persisting.Error(s.log, "cannot persist what HAProxy runs", err)
	} else {
		s.persisting.Resolve(s.log, "persisted what HAProxy runs")
	}
	s.files.Release(1)
}

// updateStateFile writes the state file, unless it is there already. Where it is not known what HAProxy serves, the one before stays,
// which fits neither the files nor the processes.
func (s *Sink) updateStateFile() {
	st := s.state.Load()
	doc, now, beside := st.appliedOnDisk(), st.running, st.loaded
	if doc == nil || doc == s.recordedDoc && beside == s.recordedLoaded && now.Same(s.recordedRunning) {
		return
	}
	r := newStateFile(doc, now, beside)
	r.Written = s.companions.settle(doc.files, st.loads)
	if s.record(r) {
		s.recordedDoc, s.recordedRunning, s.recordedLoaded = doc, now, beside
	}
}
