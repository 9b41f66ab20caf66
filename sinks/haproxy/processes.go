package haproxy

import (
	"context"
	"net/netip"
	"os"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/listen"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// checkBinds rejects doc if other processes listen on its addresses; see [process.Config.CheckBinds].
func (s *Sink) checkBinds(ctx context.Context, now process.Instance, doc *document) error {
	if !s.controller.SharesNetwork(now) {
		return nil
	}
	var applied []byte
	if content := s.state.Load().applied(now); content != nil {
		applied = content.files[0].Content
	}
	return s.paths.CheckBinds(ctx, now, doc.files[0], applied)
}

// checkConflicts looks for processes that conflict with the running HAProxy.
func (s *Sink) checkConflicts(now process.Instance) {
	found, err := s.paths.Conflicts(now)
	s.conflicts.Record(found, err, s.log)
}

// limitOldWorkers limits the number of old workers, including those that another program has left. It returns false while
// HAProxy is loading a document.
func (s *supervisor) limitOldWorkers(ctx context.Context) bool {
	if !s.tryLockFiles() {
		return false
	}
	defer s.unlockFiles()
	if now, err := s.controller.Find(ctx); err == nil && now.Same(s.state.Load().running) {
		old, ended := s.endOldWorkers(now)
		s.lockedUpdate(func(st *state) { st.recordOldWorkers(old, ended) })
	}
	return true
}

// endOldWorkers ends old workers beyond max_old_workers, as hard-stop-after would. It returns those that it found, and how
// many it ended. The caller holds s.files.
func (s *Sink) endOldWorkers(now process.Instance) (old []int, ended int) {
	old = s.paths.OldWorkers(now)
	ended, err := s.paths.EndOldWorkers(old, s.cfg.MaxOldWorkers, s.log)
	if err != nil {
		s.ending.Warn(s.log, "old workers cannot be ended", err)
	} else {
		s.ending.Resolve(s.log, "old workers can be ended again")
	}
	return old, ended
}

// pollInterval is the interval at which something that does not report its changes is polled.
const pollInterval = 10 * time.Millisecond

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// HolderOf returns the process that listens on a TCP address of this machine, and the name of its program. The pid is 0 if there
// is none or if it is not visible to this user.
func HolderOf(address netip.AddrPort) (pid int, program string) {
	wanted := listen.Address{Network: listen.TCP, Host: address.Addr(), Low: address.Port(), High: address.Port()}
	sockets, _ := procinfo.ListeningSockets(os.Getpid())
	for _, s := range sockets {
		if !s.Address.Overlaps(wanted) {
			continue
		}
		if pid := procinfo.SocketOwner(s.Inode); pid != 0 {
			return pid, procinfo.ProgramName(pid)
		}
	}
	return 0, ""
}
