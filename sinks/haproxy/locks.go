package haproxy

import "context"

// Two locks order the work of a sink.
//
// Sink.files is held while files are written, or are loaded into HAProxy: check, rename, fsync, state file, reload. It guards
// what was written (recorded, companions).
//
// Sink.change is held while HAProxy, or what it should run, is changed. It guards the runtime client, the rate limit of reloads,
// and every update of the state. A runtime change takes this lock alone, so that it waits neither for a slow disk nor for a
// check; what holds it must not check, and must not write files unless HAProxy is to load them.
//
// A load takes both: files first, then change. The persist loop takes files, and change only to record what is on disk. The
// supervisor takes files only if it is free.
//
// Readers take neither. [Sink.Health] loads the published state, so it never waits for a change. Observing HAProxy's servers
// uses a connection of its own; what was read of a backend that was changed meanwhile does not count.
//
// companions, process.ConflictMonitor and hostnames.Resolver have locks of their own, which are held for a moment and inside of
// which no other lock is taken.

// lockFiles waits until no other goroutine writes files or makes HAProxy load them. It returns an error if ctx is done first. The
// caller has to call [Sink.unlockFiles].
func (s *Sink) lockFiles(ctx context.Context) error {
	if err := s.files.Acquire(ctx, 1); err != nil {
		return interrupted(context.Cause(ctx))
	}
	return nil
}

// tryLockFiles is lockFiles without waiting. It reports whether the lock was free.
func (s *Sink) tryLockFiles() bool { return s.files.TryAcquire(1) }

// unlockFiles writes the state file, removes companions that are no longer needed, and releases the lock. The caller no longer
// holds Sink.change.
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
