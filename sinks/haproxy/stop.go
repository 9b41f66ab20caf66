package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// lastWait is how long a process may take to end after a signal that leaves it no choice.
const lastWait = time.Second

// Stop ends the watch over HAProxy, and HAProxy as well where the configuration says so: its connections have until
// drain_timeout, or until shortly before ctx ends, to finish. A Sink that has only checked documents leaves HAProxy
// alone.
func (s *Sink) Stop(ctx context.Context) error {
	defer s.fileLock.Release()
	unused := false
	s.begin.Do(func() { unused = true })
	s.stopOnce.Do(func() { close(s.stopped) })
	s.background.Wait()
	if unused || s.fileLock.Ensure() != nil {
		return nil
	}
	if err := s.lockFiles(context.WithoutCancel(ctx)); err != nil { // its holder is being stopped
		return err
	}
	defer s.files.Release(1)
	err := s.persistPending(ctx)
	s.updateStateFile()
	s.change.Lock()
	defer s.change.Unlock()
	s.client.Close()
	if s.cfg.OnExit != OnExitStop {
		return err
	}
	return errors.Join(err, s.end(ctx))
}

// end stops HAProxy: gently, then firmly, then by force.
func (s *Sink) end(ctx context.Context) error {
	now, err := s.proxy.find(ctx)
	if err != nil {
		return fmt.Errorf("HAProxy is left running: %w", err)
	}
	pids := s.paths.ours(now.pids, s.cfg.Binary)
	if len(pids) < len(now.pids) {
		return fmt.Errorf("HAProxy (process %s) is left running: it was not started for %s, and may be somebody else's",
			joinPids(now.pids), s.paths.config)
	}
	gentle := time.Now().Add(s.cfg.DrainTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-lastWait).Before(gentle) {
		gentle = deadline.Add(-lastWait)
	}
	// The firm steps have to be made also when ctx is over: that is what it stands for.
	ctx = context.WithoutCancel(ctx)
	for _, step := range []struct {
		signal syscall.Signal
		until  time.Time
	}{
		{syscall.SIGUSR1, gentle},
		{syscall.SIGTERM, later(gentle, lastWait)},
		{syscall.SIGKILL, later(gentle, 2*lastWait)},
	} {
		if err := signalAll(pids, step.signal); err != nil {
			return err
		}
		if gone(ctx, pids, step.until) {
			return s.forget()
		}
	}
	return fmt.Errorf("HAProxy does not end: process %s is still there", joinPids(pids))
}

// later returns the time d after t, or after now where t has passed.
func later(t time.Time, d time.Duration) time.Time {
	if now := time.Now(); t.Before(now) {
		t = now
	}
	return t.Add(d)
}

func signalAll(pids []int, signal syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot stop HAProxy, process %d: %w", pid, err)
		}
	}
	return nil
}

// gone waits until no process of pids is there.
func gone(ctx context.Context, pids []int, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return poll(ctx, func() (bool, error) { return !slices.ContainsFunc(pids, procinfo.Exists), nil }) == nil
}

// forget removes what would make the process after us look for the HAProxy that was stopped.
func (s *Sink) forget() error {
	var faults []error
	left := []string{s.paths.pid, s.paths.base, s.paths.admin}
	if !s.cfg.byCommand() {
		left = append(left, s.paths.socket)
	}
	if written := s.companions.all(); len(written) > 0 {
		s.record(stateFile{Written: written})
	} else {
		left = append(left, s.paths.state)
	}
	for _, path := range left {
		if err := replace.Remove(path); err != nil {
			faults = append(faults, fmt.Errorf("cannot remove %s: %w", path, replace.Cause(err)))
		}
	}
	return errors.Join(faults...)
}

var _ sdk.Stopper = (*Sink)(nil)
