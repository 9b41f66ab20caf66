package process

import (
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// processList is what HAProxy's master reports about itself and its workers in its answer to "show proc".
type processList struct {
	master  int   // 0 if the answer lists none
	reloads int   // how many reloads the master has been told since its start, failed ones included
	failed  int   // how many of the last reloads in a row failed; -1 where the version does not report it
	workers []int // the current worker, or several on versions with nbproc
	old     []int // replaced workers that finish their connections
	version string

	// noHandover reports that the master takes its current worker for an old one. From 3.1 on, it does so after a reload that
	// failed, and does not ask that worker for its listening sockets in the next reload (measured on 3.2.26; mworker_reexec in
	// mworker.c, the same in 3.5-dev4). The next worker binds the addresses anew, and connections that the current one has not
	// accepted yet are reset when it ends.
	noHandover bool
}

// parseProcessList parses an answer to "show proc". HAProxy 2.6 and 3.0 answer alike:
//
//	#<PID>          <type>          <reloads>       <uptime>        <version>
//	15110           master          4 [failed: 0]   0d00h11m10s     2.6.12
//	# workers
//	23019           worker          0               0d00h00m00s     2.6.12
//	# old workers
//	22755           worker          1               0d00h00m05s     2.6.12
//	# programs
//
// After a failed reload the counter of the current worker is above 0, and it is still listed under "# workers": the heading
// distinguishes old workers from current ones. From 3.1 on, the current worker is then the one under "# old workers" with the
// lowest counter. The number of failures is no help: reloads that fail in the worker count as one (measured on 3.2.26). Up to 2.4
// a column <relative PID> comes before <reloads>. Lines of any other form are ignored. ok is false for an answer without a line
// for the master.
func parseProcessList(answer string) (p processList, ok bool) {
	p.failed = -1
	reloadsAt, old := 2, false
	var oldReloads []int // the counters of the workers in p.old
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#<"):
			reloadsAt = max(2, slices.Index(columns(line), "reloads"))
		case strings.HasPrefix(line, "#"):
			old = strings.Contains(line, "old")
		default:
			fields := strings.Fields(line)
			p.addLine(fields, reloadsAt, old)
			if len(p.old) > len(oldReloads) {
				reloads, _ := strconv.Atoi(fields[reloadsAt])
				oldReloads = append(oldReloads, reloads)
			}
		}
	}
	if len(p.workers) == 0 && len(p.old) > 0 {
		newest := slices.Index(oldReloads, slices.Min(oldReloads))
		p.workers, p.noHandover = []int{p.old[newest]}, true
		p.old = slices.Concat(p.old[:newest], p.old[newest+1:])
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

func (p *processList) addLine(fields []string, reloadsAt int, old bool) {
	if len(fields) <= reloadsAt {
		return
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return
	}
	switch {
	case fields[1] == "worker" && old:
		p.old = append(p.old, pid)
	case fields[1] == "worker":
		p.workers = append(p.workers, pid)
	case fields[1] == "master" && p.master == 0:
		p.addMaster(pid, fields[reloadsAt:])
	}
}

// addMaster takes the columns from <reloads> on, such as: 4 [failed: 0] 0d00h11m10s 2.6.12.
func (p *processList) addMaster(pid int, fields []string) {
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

// newWorker returns the current worker if before does not list it, and 0 otherwise.
func (p processList) newWorker(before processList) int {
	for _, pid := range p.workers {
		if !slices.Contains(before.workers, pid) && !slices.Contains(before.old, pid) {
			return pid
		}
	}
	return 0
}

// worker returns the process id of the current worker, or 0 if there is none.
func (p processList) worker() int {
	if len(p.workers) == 0 {
		return 0
	}
	return p.workers[0]
}

// isCurrent reports whether the processes are still those in the list: the master and its worker run, the master is not
// stopped, and it has started no other worker.
func (p processList) isCurrent() bool {
	if !procinfo.Exists(p.master) || procinfo.IsStopped(p.master) || !procinfo.Exists(p.worker()) {
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

func (p processList) instance() Instance {
	return Instance{Pids: []int{p.master}, Worker: p.worker(), OldWorkers: p.old, Version: p.version}
}
