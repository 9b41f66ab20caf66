package haproxy

import (
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// hangAfter is how long HAProxy may serve nobody although its process is there before it is replaced.
const hangAfter = 30 * time.Second

// A hang is a time during which HAProxy's process was there and served nobody, at each look.
type hang struct {
	pid   int
	since time.Time
}

// servingProcess returns the process that takes the connections, and 0 where it is not known.
func (s *Sink) servingProcess(now running) int {
	switch {
	case now.worker != 0:
		return now.worker
	case s.cfg.byCommand() && len(now.pids) == 1 && len(workersOf(now.pids)) == 0:
		return now.pids[0]
	default: // a master that does not tell its workers
		return 0
	}
}

// servesNobody says why the process takes no connections, and "" where it does or nobody can tell. One that is busy listens, and
// so does one whose command line takes no more connections. One that loops for ever is ended by HAProxy's own watchdog.
func servesNobody(pid int) string {
	if !procinfo.Exists(pid) {
		return ""
	}
	if procinfo.IsStopped(pid) {
		return "its process is stopped"
	}
	if listening, err := procinfo.HasListener(pid); err == nil && !listening {
		return "its process no longer listens"
	}
	return ""
}

// observeHang notes since when HAProxy has served nobody.
func (s *supervisor) observeHang() {
	pid := s.servingProcess(s.state.Load().running)
	if servesNobody(pid) == "" {
		s.hang = hang{}
	} else if s.hang.pid != pid {
		s.hang = hang{pid, time.Now()}
	}
}

// hangs reports whether HAProxy has served nobody for long, so that it has to be replaced. A reload does not need the process
// that hangs.
func (s *supervisor) hangs() bool {
	pid := s.hang.pid
	if pid == 0 || time.Since(s.hang.since) < s.hangAfter || pid != s.servingProcess(s.state.Load().running) {
		return false
	}
	reason := servesNobody(pid)
	if reason != "" && !time.Now().Before(s.nextLoad) {
		s.log.Error("HAProxy serves nobody and is replaced", "pid", pid, "reason", reason,
			"since", s.hang.since.Format(time.RFC3339))
	}
	return reason != ""
}
