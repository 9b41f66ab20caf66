package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// signalWait is how long a process may take to end after SIGTERM and after SIGKILL.
const signalWait = time.Second

// Stop ends HAProxy: it lets the processes finish their connections until the drain timeout, or until shortly before ctx ends,
// and ends them then. It does not end an instance that was not started for the files of c.
func (c Config) Stop(ctx context.Context, now Instance) error {
	pids := c.Own(now.Pids)
	if len(pids) < len(now.Pids) {
		return fmt.Errorf("HAProxy (process %s) is left running: it was not started for %s and may belong to another program",
			JoinPids(now.Pids), c.ConfigFile)
	}
	drained := time.Now().Add(c.DrainTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-signalWait).Before(drained) {
		drained = deadline.Add(-signalWait)
	}
	// SIGTERM and SIGKILL have to be sent also when ctx is done.
	ctx = context.WithoutCancel(ctx)
	for _, step := range []struct {
		signal syscall.Signal
		until  time.Time
	}{
		{syscall.SIGUSR1, drained},
		{syscall.SIGTERM, laterOf(drained, time.Now()).Add(signalWait)},
		{syscall.SIGKILL, laterOf(drained, time.Now()).Add(2 * signalWait)},
	} {
		if err := signalAll(pids, step.signal); err != nil {
			return err
		}
		if waitForEnd(ctx, pids, step.until) {
			return nil
		}
	}
	return fmt.Errorf("HAProxy does not end: process %s still exists", JoinPids(pids))
}

func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func signalAll(pids []int, signal syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot stop HAProxy, process %d: %w", pid, err)
		}
	}
	return nil
}

// waitForEnd waits until none of the processes exists. It returns false if one still does at that time.
func waitForEnd(ctx context.Context, pids []int, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return poll(ctx, func() (bool, error) { return !slices.ContainsFunc(pids, procinfo.Exists), nil }) == nil
}
