package process

import (
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// An Instance is what is known of a running HAProxy. The zero value means that none runs.
type Instance struct {
	Pids       []int // the master, or the processes in the pid file
	Worker     int   // the worker that serves; 0 if no master names it
	OldWorkers []int // replaced workers that finish their connections, as far as a master names them
	Version    string
	Unseen     bool // no process of it is visible from here, and a command is trusted to reload it
}

// None reports whether no HAProxy runs.
func (i Instance) None() bool { return len(i.Pids) == 0 && !i.Unseen }

// Pid returns the process that serves, and 0 if that is not exactly one.
func (i Instance) Pid() int {
	if i.Worker != 0 || len(i.Pids) != 1 {
		return i.Worker
	}
	return i.Pids[0]
}

// Alive reports whether the processes still exist. It is cheap: that they are HAProxy was verified when the instance was found.
func (i Instance) Alive() bool {
	return i.Unseen || slices.ContainsFunc(i.Pids, procinfo.Exists) && (i.Worker == 0 || procinfo.Exists(i.Worker))
}

// Same reports whether both are the same processes, so that they serve the configuration that they served before.
func (i Instance) Same(other Instance) bool {
	return !i.None() && slices.Equal(i.Pids, other.Pids) && i.Worker == other.Worker && i.Unseen == other.Unseen
}

// Serves reports whether i seems to serve, where before is the last instance that did: an instance that had a worker needs one.
func (i Instance) Serves(before Instance) bool {
	return i.Alive() && (i.Worker != 0 || before.Worker == 0)
}

// FactUp is the fact of Health that is "1" if HAProxy runs and serves, and "0" otherwise.
const FactUp = "haproxy_up"

// Facts returns what Health reports about the processes.
func (i Instance) Facts() map[string]string {
	facts := map[string]string{}
	if !i.None() {
		facts["pid"] = JoinPids(i.Pids)
	}
	if i.Worker != 0 {
		facts["worker"] = strconv.Itoa(i.Worker)
	}
	if len(i.OldWorkers) > 0 {
		facts["old_workers"] = JoinPids(i.OldWorkers)
	}
	if i.Version != "" {
		facts["version"] = i.Version
	}
	return facts
}

// JoinPids returns process ids separated by spaces.
func JoinPids(pids []int) string {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	return strings.Join(words, " ")
}

// Answered reports whether the info is the answer of the process that serves, or of a worker that it has started, and that
// process is not stopping.
func (i Instance) Answered(info runtimeapi.Info) bool {
	return info.ServedBy(i.Pid()) || info.Pid() != 0 && i.Pid() != 0 && procinfo.Parent(info.Pid()) == i.Pid()
}
