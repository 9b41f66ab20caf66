package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// An old worker is a process of a HAProxy of ours that was replaced and finishes the connections that it has. Each reload leaves
// one until its last connection ends or hard-stop-after does, which is drain_timeout.
//
// Ours is what the master of the HAProxy in use says that it has started, and what was started with the base file, which only
// the sink writes and gives to HAProxy. That holds for what a process of the sink before this one has started, too. A command of
// the user's may start HAProxy without that file: its processes, which are never ended, go by the configuration or pid file.
//
// HAProxy's own mworker-max-reloads is not used to bound them: before 3.0 it counts the reloads that failed as well, and may then
// end the worker that serves.

// oldWorkers returns the old workers beside the HAProxy in now, the oldest one first. Those of a master that was itself replaced
// are among them.
func (s *Sink) oldWorkers(now running) []int {
	all, err := procinfo.List()
	if err != nil {
		return now.old
	}
	started := s.paths.startedByUs
	if s.cfg.ReloadCmd != "" {
		started = s.paths.started
	}
	old := map[int]bool{}
	for pid, process := range all {
		current := pid == now.worker || slices.Contains(now.pids, pid)
		child := slices.Contains(now.pids, process.Parent) // which its master knows
		switch {
		case slices.Contains(now.old, pid):
			old[pid] = true
		case !current && !child && started(pid, s.cfg.Binary) && sharesNetwork(pid, now) && !procinfo.Listens(pid):
			old[pid] = true
		}
	}
	for _, process := range all { // a master ends with its last worker
		delete(old, process.Parent)
	}
	return slices.SortedFunc(maps.Keys(old), func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].Started, all[b].Started), cmp.Compare(a, b))
	})
}

// startedByUs reports whether pid is a HAProxy that was started with the base file. One that somebody else has started with our
// configuration file, such as a service manager, was not.
func (p paths) startedByUs(pid int, binary string) bool {
	if !isHAProxy(pid, binary) {
		return false
	}
	options := optionsOf(pid)
	return !options.check && slices.ContainsFunc(options.files, func(file string) bool { return options.names(file, p.base) })
}

// sharesNetwork reports whether pid is known to be in the network namespace of the HAProxy in now.
func sharesNetwork(pid int, now running) bool {
	return slices.ContainsFunc(now.pids, func(own int) bool { return procinfo.ShareNetwork(pid, own) })
}

// observeOldWorkers bounds the old workers, those that somebody else has left too. It returns false where HAProxy is being made
// to load something.
func (s *supervisor) observeOldWorkers(ctx context.Context) bool {
	if !s.tryLockFiles() {
		return false
	}
	defer s.unlockFiles()
	if now, err := s.proxy.find(ctx); err == nil && now.same(s.state.Load().running) {
		old, ended := s.boundOldWorkers(now)
		s.lockedUpdate(func(st *state) { st.noteOldWorkers(old, ended) })
	}
	return true
}

// boundOldWorkers ends the oldest old workers where there are more than max_old_workers, as hard-stop-after would, and those
// that are suspended: they finish nothing, and connections to the sockets that they keep open are lost. It only counts the
// processes that a command of the user's has started. The caller holds s.files.
func (s *Sink) boundOldWorkers(now running) (old []int, ended int) {
	old = s.oldWorkers(now)
	var faults []error
	for i, pid := range old {
		signal := syscall.SIGTERM // ends a worker at once
		switch excess := len(old) - i - s.cfg.MaxOldWorkers; {
		case s.cfg.ReloadCmd != "":
			continue
		case procinfo.IsSuspended(pid):
			signal = syscall.SIGKILL
		case s.cfg.MaxOldWorkers == 0 || excess <= 0:
			continue
		}
		if err := signalAll([]int{pid}, signal); err != nil {
			faults = append(faults, fmt.Errorf("process %d: %w", pid, err))
			continue
		}
		ended++
		s.log.Warn("ended an old worker", "pid", pid, "old_workers", len(old), "max_old_workers", s.cfg.MaxOldWorkers)
	}
	if err := errors.Join(faults...); err != nil {
		s.ending.Warn(s.log, "old workers cannot be ended", err)
	} else {
		s.ending.Resolve(s.log, "old workers can be ended again")
	}
	return old, ended
}
