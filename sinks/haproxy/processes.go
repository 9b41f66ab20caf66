package haproxy

import (
	"context"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// checkBinds rejects doc where other processes listen on its addresses; see [process.Config.CheckBinds].
func (s *Sink) checkBinds(ctx context.Context, now process.Instance, doc *placed) error {
	if !s.controller.SharesNetwork(now) {
		return nil
	}
	var applied []byte
	if content := s.notes.inEffect(now); content != nil {
		applied = content.files[0].Content
	}
	return s.paths.CheckBinds(ctx, now, doc.files[0], applied)
}

// checkConflicts looks for processes that conflict with the HAProxy that runs.
func (s *Sink) checkConflicts(now process.Instance) {
	found, err := s.paths.Conflicts(now)
	s.conflicts.Record(found, err, s.log)
}

// observeOldWorkers limits the number of old workers, including those that another program has left. It returns false while HAProxy is loading
// a document.
func (g *guard) observeOldWorkers(ctx context.Context) bool {
	if !g.tryLockFiles() {
		return false
	}
	defer g.unlockFiles()
	if now, err := g.controller.Find(ctx); err == nil && now.Same(g.notes.running()) {
		g.limitOldWorkers(now)
	}
	return true
}

// limitOldWorkers ends old workers beyond max_old_workers, as hard-stop-after would. The caller holds s.files.
func (s *Sink) limitOldWorkers(now process.Instance) {
	old := s.paths.OldWorkers(now)
	ended, err := s.paths.EndOldWorkers(old, s.cfg.MaxOldWorkers, s.log)
	if err != nil {
		s.ending.Warn(s.log, "old workers cannot be ended", err)
	} else {
		s.ending.Resolve(s.log, "old workers can be ended again")
	}
	s.notes.oldWorkers(old, ended)
}
