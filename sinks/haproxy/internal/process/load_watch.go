package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A loadWatch knows which processes existed before a command was run: only a process that is new after it can have loaded the
// new files.
type loadWatch struct {
	before    Instance
	workers   []int // of the masters among the processes of before
	master    masterSocket
	processes processList // what the master listed, if it has a socket
	waiting   bool        // the master is one that executes itself to load, and again to wait: up to 3.0

	newest int       // a new worker
	since  time.Time // when it was first seen
}

// stableWorkerTime is how long a new worker has to exist if it is unknown whether the previous ones have stopped listening.
const stableWorkerTime = time.Second

func newLoadWatch(ctx context.Context, before Instance) *loadWatch {
	w := &loadWatch{before: before, workers: workersOf(before.Pids), waiting: slices.ContainsFunc(before.Pids, waits)}
	for _, pid := range before.Pids {
		if path := masterSocketOf(pid); path != "" {
			w.master = masterSocket(path)
		}
	}
	if p, err := w.listProcesses(ctx); err == nil {
		w.processes = p
	}
	return w
}

// listProcesses asks the master for its processes. It is an error if none of the masters from before answers soon.
func (w *loadWatch) listProcesses(ctx context.Context) (processList, error) {
	if w.master == "" {
		return processList{}, errors.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	p, err := w.master.listProcesses(ctx)
	if err == nil && !slices.Contains(w.before.Pids, p.master) {
		return processList{}, errOtherProgram
	}
	return p, err
}

// masterSocketOf returns the path of the master socket that the process was started with, or "" if it has none with a path.
func masterSocketOf(pid int) string {
	path := optionsOf(pid).socket
	if dir, err := procinfo.WorkingDir(pid); err == nil && path != "" && !filepath.IsAbs(path) && !strings.Contains(path, "@") {
		path = filepath.Join(dir, path)
	}
	if !filepath.IsAbs(path) {
		return ""
	}
	return path
}

// workersOf returns the HAProxy processes that the masters among pids have started, the old workers included.
func workersOf(pids []int) []int {
	var workers []int
	for _, pid := range pids {
		started, err := procinfo.Children(pid)
		master, errMaster := procinfo.CommandLine(pid)
		if err != nil || errMaster != nil {
			continue
		}
		for _, child := range started { // a program section starts other programs
			if args, err := procinfo.CommandLine(child); err == nil && args[0] == master[0] {
				workers = append(workers, child)
			}
		}
	}
	return workers
}

// waits reports whether the process is a master, up to 3.0, that is not loading.
func waits(pid int) bool {
	env, err := procinfo.Environment(pid)
	return err == nil && env["HAPROXY_MWORKER_WAIT_ONLY"] != ""
}

// hasLoaded reports whether now, which the pid file names after the command, is or has a new process that serves. It returns an
// error once it is known that HAProxy did not load the files.
func (w *loadWatch) hasLoaded(ctx context.Context, now Instance) (bool, error) {
	if !now.Same(w.before) {
		return mastersHaveWorkers(now.Pids), nil
	}
	if p, err := w.listProcesses(ctx); err == nil && w.processes.master != 0 {
		if p.reloads > w.processes.reloads && p.failed > 0 {
			return false, reloadFailedError(p)
		}
		worker := p.newWorker(w.processes)
		return p.reloads > w.processes.reloads && worker != 0 && w.serves(ctx, worker), nil
	}
	worker := w.newWorker()
	if worker != w.newest {
		w.newest, w.since = worker, time.Now()
	}
	return worker != 0 && w.previousStopped(), nil
}

// serves reports whether the worker answers on the master socket and is not stopping.
func (w *loadWatch) serves(ctx context.Context, worker int) bool {
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	i, err := runtimeapi.AskInfo(ctx, w.master.worker(worker))
	return err == nil && i.ServedBy(worker)
}

// previousStopped reports whether the workers from before have ended or no longer listen. A new worker may still be loading and
// reject the files. Only when it is ready are the previous ones told to stop.
func (w *loadWatch) previousStopped() bool {
	for _, old := range w.workers {
		listening, err := procinfo.HasListener(old)
		if procinfo.Exists(old) && (listening || err != nil && time.Since(w.since) < stableWorkerTime) {
			return false
		}
	}
	return true
}

// isLoading reports whether the master or a new worker seems to be loading the files.
func (w *loadWatch) isLoading(ctx context.Context) bool {
	if !slices.ContainsFunc(w.before.Pids, procinfo.Exists) {
		return false
	}
	if w.processes.master != 0 {
		p, err := w.listProcesses(ctx)
		return err != nil || p.newWorker(w.processes) != 0
	}
	return w.newWorker() != 0 || w.waiting && !slices.ContainsFunc(w.before.Pids, waits)
}

// newWorker returns a worker that did not exist before, or 0 if there is none.
func (w *loadWatch) newWorker() int {
	for _, worker := range workersOf(w.before.Pids) {
		if !slices.Contains(w.workers, worker) {
			return worker
		}
	}
	return 0
}

// mastersHaveWorkers reports whether each master among pids has a worker.
func mastersHaveWorkers(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool {
		i, err := invocationOf(pid)
		if err != nil || !i.hasMaster() {
			return false
		}
		_, err = procinfo.Children(pid)
		return err == nil && len(workersOf([]int{pid})) == 0
	})
}

// unchangedError returns the error for a HAProxy that has no new process after the command.
func (w *loadWatch) unchangedError(pidFile string) error {
	evidence := "the pid file " + pidFile + " names no other process"
	if w.processes.master != 0 {
		evidence = fmt.Sprintf("the master socket %s lists no new worker", w.master)
	} else if len(w.workers) > 0 {
		evidence = fmt.Sprintf("it has no worker besides %s", JoinPids(w.workers))
	}
	message := fmt.Sprintf("the reload command ended, but HAProxy still runs as process %s, and %s",
		JoinPids(w.before.Pids), evidence)
	return &UnchangedError{LoadError{Message: message}}
}

var errNoInstance = errors.New("no new process serves")

// waitForLoad waits for a new process that serves, for as long as one loads the files. Where no process was ever visible,
// neither before nor after the command, HAProxy is assumed to run unseen, and the exit code of the command has to be enough.
func (c *Command) waitForLoad(ctx context.Context, w *loadWatch) (now Instance, err error) {
	idle := time.Now() // since when nothing has been loading
	err = poll(ctx, func() (bool, error) {
		found, err := c.Find(ctx)
		if err == nil && (!found.None() || now.None()) {
			now = found
		}
		if err == nil && len(found.Pids) > 0 {
			if done, err := w.hasLoaded(ctx, found); done || err != nil {
				return done, err
			}
		}
		if found.Unseen {
			return true, nil
		}
		if w.isLoading(ctx) {
			idle = time.Now()
		}
		if time.Since(idle) > c.ResponseTimeout {
			now = found
			return false, errNoInstance
		}
		return false, nil
	})
	switch {
	case !errors.Is(err, errNoInstance):
	case now.Same(w.before):
		err = w.unchangedError(c.cfg.PidFile)
	case !now.None():
		err = &LoadError{Message: "HAProxy runs as process " + JoinPids(now.Pids) + " after the reload, but has no worker"}
	case c.cfg.ReloadCommand == "" || !c.unseen.assume():
		err = &LoadError{Message: "the reload command succeeded, but the pid file " + c.cfg.PidFile + " names no running HAProxy"}
	default:
		c.log.Warn("reload_cmd was run, but no process of HAProxy is visible, so it is unknown whether it loaded the files",
			"file", c.cfg.PidFile)
		now, err = Instance{Unseen: true}, nil
	}
	return now, err
}
