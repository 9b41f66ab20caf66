package process

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"syscall"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// OldWorkers returns the old workers beside the instance, the oldest first. An old worker is a process of a replaced HAProxy
// that finishes its connections. Each reload leaves one until its last connection ends or hard-stop-after has passed, which is
// the drain timeout.
//
// A process is an old worker of ours if the instance's master has started it, or if it was started with the base file, also by
// an earlier process or by a master that was replaced. A command of the user's may start HAProxy without that file: its
// processes are recognised by the configuration file or the pid file.
func (c Config) OldWorkers(now Instance) []int {
	all, err := procinfo.List()
	if err != nil {
		return now.OldWorkers
	}
	isOurs := c.startedWithBase
	if c.ReloadCommand != "" {
		isOurs = c.owns
	}
	old := map[int]bool{}
	for pid, p := range all {
		current := pid == now.Worker || slices.Contains(now.Pids, pid)
		child := slices.Contains(now.Pids, p.Parent) // which its master lists
		switch {
		case slices.Contains(now.OldWorkers, pid):
			old[pid] = true
		case !current && !child && isOurs(pid) && now.sharesNetwork(pid) && !procinfo.Listens(pid):
			old[pid] = true
		}
	}
	for _, p := range all { // a master ends with its last worker
		delete(old, p.Parent)
	}
	return slices.SortedFunc(maps.Keys(old), func(a, b int) int {
		return cmp.Or(cmp.Compare(all[a].Started, all[b].Started), cmp.Compare(a, b))
	})
}

// sharesNetwork reports whether pid is known to be in the network namespace of the instance.
func (i Instance) sharesNetwork(pid int) bool {
	return slices.ContainsFunc(i.Pids, func(own int) bool { return procinfo.ShareNetwork(pid, own) })
}

// EndOldWorkers ends the oldest of the old workers, which [Config.OldWorkers] has returned, if there are more than limit,
// and all that are suspended: a suspended process finishes nothing, and connections to the sockets that it keeps open are lost.
// A limit of 0 is no limit. It never ends processes that a command of the user's has started. It returns how many it has ended.
//
// HAProxy's own mworker-max-reloads does not do this: before 3.0 it counts failed reloads as well, and may end the worker that
// serves.
func (c Config) EndOldWorkers(old []int, limit int, log *slog.Logger) (ended int, err error) {
	if c.ReloadCommand != "" {
		return 0, nil
	}
	for i, pid := range old {
		signal := syscall.SIGTERM // ends a worker at once
		if procinfo.IsSuspended(pid) {
			signal = syscall.SIGKILL
		} else if limit == 0 || len(old)-i <= limit {
			continue
		}
		if errSignal := signalAll([]int{pid}, signal); errSignal != nil {
			err = errors.Join(err, fmt.Errorf("process %d: %w", pid, errSignal))
			continue
		}
		ended++
		log.Warn("ended an old worker", "pid", pid, "old_workers", len(old), "max_old_workers", limit)
	}
	return ended, err
}
