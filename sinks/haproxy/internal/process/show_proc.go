package haproxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// procs is what HAProxy's master says about itself and its workers, in answer to "show proc".
type procs struct {
	master  int   // 0 in an answer that is none
	reloads int   // how often the master was told to reload since its start, failures included
	failed  int   // how many of the last reloads failed in a row; -1 where the version does not tell
	workers []int // the current worker, or several on versions with nbproc
	old     []int // workers that finish what they have
	version string
}

// parseProcs reads an answer to "show proc". HAProxy 2.6 and 3.0 answer alike:
//
//	#<PID>          <type>          <reloads>       <uptime>        <version>
//	15110           master          4 [failed: 0]   0d00h11m10s     2.6.12
//	# workers
//	23019           worker          0               0d00h00m00s     2.6.12
//	# old workers
//	22755           worker          1               0d00h00m05s     2.6.12
//	# programs
//
// After a failed reload the standing worker's own counter is above 0 and it is still listed under "# workers": it is
// the heading that tells old from current. From 3.1 on it is then the one under "# old workers" whose counter is the number of
// failures. Up to 2.4 a column <relative PID> comes before <reloads>. Lines of any other form are passed over; without a line for
// the master the answer is none, and ok is false.
func parseProcs(answer string) (p procs, ok bool) {
	p.failed = -1
	reloadsAt, leaving := 2, false
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#<"):
			reloadsAt = max(2, slices.Index(columns(line), "reloads"))
		case strings.HasPrefix(line, "#"):
			leaving = strings.Contains(line, "old")
		default:
			p.addLine(strings.Fields(line), reloadsAt, leaving)
		}
	}
	return p, p.master != 0
}

// columns returns the names in a heading such as "#<PID>  <type>".
func columns(heading string) []string {
	var names []string
	for part := range strings.SplitSeq(heading, "<") {
		if name, _, found := strings.Cut(part, ">"); found {
			names = append(names, name)
		}
	}
	return names
}

func (p *procs) addLine(fields []string, reloadsAt int, leaving bool) {
	if len(fields) <= reloadsAt {
		return
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return
	}
	if len(p.workers) == 0 && p.failed > 0 && fields[reloadsAt] == strconv.Itoa(p.failed) {
		leaving = false // it stands since before the reloads that failed
	}
	switch {
	case fields[1] == "worker" && leaving:
		p.old = append(p.old, pid)
	case fields[1] == "worker":
		p.workers = append(p.workers, pid)
	case fields[1] == "master" && p.master == 0:
		p.addMaster(pid, fields[reloadsAt:])
	}
}

// addMaster takes the columns from <reloads> on, such as: 4 [failed: 0] 0d00h11m10s 2.6.12.
func (p *procs) addMaster(pid int, fields []string) {
	reloads, err := strconv.Atoi(fields[0])
	if err != nil || reloads < 0 {
		return
	}
	p.master, p.reloads = pid, reloads
	if len(fields) > 1 {
		p.version = fields[len(fields)-1]
	}
	if len(fields) > 2 && fields[1] == "[failed:" {
		if failed, err := strconv.Atoi(strings.TrimSuffix(fields[2], "]")); err == nil && failed >= 0 {
			p.failed = failed
		}
	}
}

// fresh returns the current worker if it is one that before did not know, and 0 otherwise.
func (p procs) fresh(before procs) int {
	for _, pid := range p.workers {
		if !slices.Contains(before.workers, pid) && !slices.Contains(before.old, pid) {
			return pid
		}
	}
	return 0
}

// worker returns the current worker's process id, and 0 if there is none.
func (p procs) worker() int {
	if len(p.workers) == 0 {
		return 0
	}
	return p.workers[0]
}

// stands reports whether the processes are those that p lists: none has ended, none is stopped, and the master has started
// no other worker.
func (p procs) stands() bool {
	if p.master == 0 || p.worker() == 0 || !procinfo.Exists(p.master) || procinfo.IsStopped(p.master) || !procinfo.Exists(p.worker()) {
		return false
	}
	all, err := procinfo.List()
	if err != nil {
		return true
	}
	for pid, other := range all {
		listed := slices.Contains(p.workers, pid) || slices.Contains(p.old, pid)
		if other.Parent == p.master && !listed && procinfo.ProgramName(pid) == procinfo.ProgramName(p.master) {
			return false
		}
	}
	return true
}

// running is what p says for the rest of the package.
func (p procs) running() running {
	return running{pids: []int{p.master}, worker: p.worker(), old: p.old, version: p.version}
}

// answeredByChildOf reports whether a worker of the master answered that is not stopping.
func answeredByChildOf(master int, i runtimeapi.Info) bool {
	pid := i.Pid()
	return pid != 0 && master > 0 && procinfo.Parent(pid) == master
}
