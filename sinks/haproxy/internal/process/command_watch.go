package haproxy

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

// A witness is what was there before a command was run: only what is new after it can have loaded the new files.
type witness struct {
	before  running
	workers []int // of the masters among the processes of before
	master  masterSocket
	procs   procs // what the master said, where it has a socket
	waiting bool  // the master is of those that execute themselves to load, and once more to wait: up to 3.0

	newest int       // a worker that is new
	since  time.Time // when it was first seen
}

// steadyFor is how long a new worker has to be there where it cannot be told whether the ones before have left.
const steadyFor = time.Second

// witness looks at what runs now.
func (c *commanded) witness(ctx context.Context, before running) *witness {
	w := &witness{before: before, workers: workersOf(before.pids), waiting: slices.ContainsFunc(before.pids, waits)}
	for _, pid := range before.pids {
		if path := masterSocketOf(pid); path != "" {
			w.master = masterSocket{path}
		}
	}
	if p, err := w.ask(ctx); err == nil {
		w.procs = p
	}
	return w
}

// ask asks the master for its processes, and is an error where none of those that are watched answers soon.
func (w *witness) ask(ctx context.Context) (procs, error) {
	if w.master.path == "" {
		return procs{}, errors.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeapi.AnswerTimeout)
	defer cancel()
	p, err := w.master.procs(ctx)
	if err == nil && !slices.Contains(w.before.pids, p.master) {
		return procs{}, errNotOurs
	}
	return p, err
}

// masterSocketOf returns the path of the master socket that the process was started with, and "" if there is none on disk.
func masterSocketOf(pid int) string {
	args, err := procinfo.CommandLine(pid)
	if err != nil {
		return ""
	}
	at := slices.Index(args, "-S")
	if at < 0 || at+1 >= len(args) {
		return ""
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(args[at+1], "unix@"), ",")
	if dir, err := procinfo.WorkingDir(pid); err == nil && !filepath.IsAbs(path) && !strings.Contains(path, "@") {
		path = filepath.Join(dir, path)
	}
	if !filepath.IsAbs(path) {
		return ""
	}
	return path
}

// workersOf returns the HAProxy processes that the masters among pids have started, the leaving ones included.
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

// renewed reports whether now, which the pid file names after the command, is or has a process that is new and that serves.
// It is an error once it is clear that HAProxy did not take the files.
func (w *witness) renewed(ctx context.Context, now running) (bool, error) {
	if !now.same(w.before) {
		return serving(now.pids), nil
	}
	if p, err := w.ask(ctx); err == nil && w.procs.master != 0 {
		if p.reloads > w.procs.reloads && p.failed > 0 {
			return false, &refusal{sentence: fmt.Sprintf("HAProxy could not load the configuration (reload %d of master "+
				"process %d failed) and keeps the one before", p.reloads, p.master)}
		}
		fresh := p.fresh(w.procs)
		return p.reloads > w.procs.reloads && fresh != 0 && w.master.serves(ctx, fresh), nil
	}
	fresh := w.fresh()
	if fresh != w.newest {
		w.newest, w.since = fresh, time.Now()
	}
	return fresh != 0 && w.handedOver(), nil
}

// handedOver reports whether the workers from before have left or are leaving. A new worker may still be loading, and find
// a fault in the files. Once it is ready, they are told to leave.
func (w *witness) handedOver() bool {
	for _, old := range w.workers {
		listening, err := procinfo.HasListener(old)
		if procinfo.Exists(old) && (listening || err != nil && time.Since(w.since) < steadyFor) {
			return false
		}
	}
	return true
}

// loads reports whether the master or a new worker seems to be loading the files.
func (w *witness) loads(ctx context.Context) bool {
	if !slices.ContainsFunc(w.before.pids, procinfo.Exists) {
		return false
	}
	if w.procs.master != 0 {
		p, err := w.ask(ctx)
		return err != nil || p.fresh(w.procs) != 0
	}
	return w.fresh() != 0 || w.waiting && !slices.ContainsFunc(w.before.pids, waits)
}

// waits reports whether the process is a master, up to 3.0, that has nothing to load.
func waits(pid int) bool {
	env, err := procinfo.Environment(pid)
	return err == nil && env["HAPROXY_MWORKER_WAIT_ONLY"] != ""
}

// fresh returns a worker that is new, and 0 if there is none.
func (w *witness) fresh() int {
	for _, worker := range workersOf(w.before.pids) {
		if !slices.Contains(w.workers, worker) {
			return worker
		}
	}
	return 0
}

// serving reports whether each master among pids has a worker.
func serving(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool {
		l, err := invocationOf(pid)
		if err != nil || !l.master() {
			return false
		}
		_, err = procinfo.Children(pid)
		return err == nil && len(workersOf([]int{pid})) == 0
	})
}

// An unchangedError says that the HAProxy that runs is the one from before the command, with what it has loaded then.
type unchangedError struct{ refusal }

func (e *unchangedError) Unwrap() error { return &e.refusal }

func (w *witness) unchanged(pidFile string) error {
	looked := "the pid file " + pidFile + " names no other one"
	if w.procs.master != 0 {
		looked = "the master socket " + w.master.path + " tells of no new worker"
	} else if len(w.workers) > 0 {
		looked = fmt.Sprintf("its worker %s is as before", joinPids(w.workers))
	}
	return &unchangedError{refusal{sentence: fmt.Sprintf("the reload command ended, but HAProxy is process %s as before, and %s",
		joinPids(w.before.pids), looked)}}
}
