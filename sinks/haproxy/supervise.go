package haproxy

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

const (
	// watchInterval is how often the processes are looked at. Together with a start it stays well below the two
	// seconds within which a killed HAProxy has to be back.
	watchInterval = 250 * time.Millisecond
	// stableAfter is how long HAProxy has to run before its next death is taken for a new trouble.
	stableAfter = 10 * time.Second
	// longestRetry bounds the time between two attempts to start a HAProxy that does not stay.
	longestRetry = 30 * time.Second
	// silenceLimit is how long a master may be without a worker, or not answer, before it is told to load again.
	silenceLimit = time.Second
	// adoptLimit bounds the first look.
	adoptLimit = time.Second
)

// beginOnce adopts what runs and begins to watch over it, at the first call.
func (s *Sink) beginOnce(ctx context.Context) {
	s.begin.Do(func() {
		s.adopt(ctx)
		s.watching.Go(s.supervise)
	})
}

// adopt finds out what runs and whether it is what the process before us left in effect.
func (s *Sink) adopt(ctx context.Context) {
	// Whoever asks first may be in a hurry; what is found here holds for everybody after.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptLimit)
	defer cancel()
	left, have := readReceipt(s.paths.receipt)
	s.paths.sweep(left)
	var files []stage.File
	if have {
		files, _ = left.load(s.paths)
		s.notes.owe(files)
	}
	now, err := s.proxy.find(ctx)
	switch {
	case err != nil:
		s.log.Warn("cannot tell whether HAProxy runs", "error", err)
		s.notes.failed(err)
	case now.none():
		s.log.Info("no HAProxy runs", "pid_file", s.paths.pid)
	case have && left.isFor(now):
		s.log.Info("adopted the running HAProxy", "pid", joinPids(now.pids), "worker", now.worker)
		s.notes.settle(files, now)
	default:
		s.log.Info("adopted a running HAProxy; what it serves is not known", "pid", joinPids(now.pids), "worker", now.worker)
		s.notes.settle(nil, now)
	}
}

// sweep removes what a crash in the middle of a change has left of its temporary files.
func (p paths) sweep(left receipt) {
	names := []string{filepath.Base(p.config), filepath.Base(p.receipt)}
	stage.RemoveTemporary(p.dir(), slices.AppendSeq(names, maps.Keys(left.Files)))
}

// supervise watches over HAProxy until Stop.
func (s *Sink) supervise() {
	ctx, release := s.untilStopped(context.Background())
	defer release()
	g := &guard{Sink: s, pace: backoff.NewExponentialBackOff()}
	g.pace.MaxInterval = longestRetry
	for ctx.Err() == nil {
		g.look(ctx)
		pause(ctx, watchInterval)
	}
}

// A guard starts HAProxy again when it is gone.
type guard struct {
	*Sink
	pace   *backoff.ExponentialBackOff
	next   time.Time // not before then is HAProxy started again
	silent time.Time // since when there has been a process that does not serve
}

// look does nothing while a change is under way: that takes care of HAProxy itself.
func (g *guard) look(ctx context.Context) {
	v := g.notes.view()
	if v.now.stands() {
		g.silent = time.Time{}
		if v.uptime > stableAfter {
			g.pace.Reset()
			g.next = time.Time{}
		}
		return
	}
	if !v.guarded || !g.change.TryLock() {
		return
	}
	defer g.change.Unlock()
	g.tend(ctx)
}

// tend finds out about a HAProxy that is not the one that was noted.
func (g *guard) tend(ctx context.Context) {
	before := g.notes.running()
	if before.stands() {
		return
	}
	now, err := g.proxy.find(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		g.notes.failed(err)
	case now.none():
		g.revive(ctx)
	case now.serving(before):
		g.log.Warn("HAProxy was started or reloaded by somebody else", "pid", joinPids(now.pids), "worker", now.worker)
		g.notes.settle(nil, now)
	case g.silent.IsZero():
		g.silent = time.Now()
	case time.Since(g.silent) > silenceLimit:
		g.revive(ctx)
	}
}

// serving reports whether r can be taken for a HAProxy that serves, where before is the last one that did.
func (r running) serving(before running) bool {
	return r.stands() && (r.worker != 0 || before.worker == 0)
}

// revive starts HAProxy with what was last in effect, unless it was tried too recently.
func (g *guard) revive(ctx context.Context) {
	if time.Now().Before(g.next) {
		return
	}
	g.next = time.Now().Add(g.pace.NextBackOff())
	g.log.Warn("HAProxy is gone; starting it again", "was", joinPids(g.notes.running().pids), "config_file", g.paths.config)
	files := g.notes.wanted()
	if err := g.rewrite(files); err != nil {
		g.log.Warn("the configuration on disk is not the one that was in effect, and stays", "error", err)
		files = nil
	}
	g.notes.renewing(true)
	defer g.notes.renewing(false)
	r, err := g.proxy.renew(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		g.log.Error("HAProxy cannot be started", "error", err, "again_in", time.Until(g.next).Round(time.Millisecond))
		g.notes.failed(err)
		return
	}
	g.log.Info("HAProxy serves again", "pid", joinPids(r.now.pids), "worker", r.now.worker)
	g.settle(files, r.now)
}

// rewrite puts files back on disk where somebody has changed them since they came into effect.
func (s *Sink) rewrite(files []stage.File) error {
	var changed []stage.File
	for _, f := range files {
		if content, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(content, f.Content) {
			changed = append(changed, f)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	s.log.Warn("putting back what was changed on disk", "file", changed[0].Path)
	st, err := stage.New("", changed, 0)
	if err != nil {
		return err
	}
	defer st.Discard()
	return st.Commit()
}
