package process

import "github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"

// WhyNotServing returns why the process accepts no connections, or "" if it does, has ended, or that is unknown. A busy
// process serves, and so does one that accepts no more connections on the runtime API. HAProxy's own watchdog ends a process
// that loops.
func WhyNotServing(pid int) string {
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
