package haproxy

import (
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// hangAfter is how long a running HAProxy may accept no connections before it is replaced.
const hangAfter = 30 * time.Second

// A hang is a period in which HAProxy's process existed but accepted no connections at every check.
type hang struct {
	pid    int
	since  time.Time
	reason string // why it has to be replaced; empty if it need not
}

// observeHang records since when HAProxy has accepted no connections.
func (s *supervisor) observeHang() {
	pid := s.controller.ServingPid(s.state.Load().running)
	if process.WhyNotServing(pid) == "" {
		s.hang = hang{}
	} else if s.hang.pid != pid {
		s.hang = hang{pid: pid, since: time.Now()}
	}
}

// hangs reports whether HAProxy has accepted no connections for so long that it has to be replaced. A reload does not need the
// process that hangs.
func (s *supervisor) hangs() bool {
	pid := s.hang.pid
	if pid == 0 || time.Since(s.hang.since) < s.hangAfter || pid != s.controller.ServingPid(s.state.Load().running) {
		return false
	}
	reason := process.WhyNotServing(pid)
	s.hang.reason = reason
	if reason != "" && !time.Now().Before(s.nextLoad) {
		s.log.Error("HAProxy accepts no connections and is replaced", "pid", pid, "reason", reason,
			"since", s.hang.since.Format(time.RFC3339))
	}
	return reason != ""
}
