package haproxy

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
)

const (
	// superviseInterval is how often the supervisor looks at HAProxy's processes. Together with a start it stays well below the
	// two seconds within which a killed HAProxy has to be back.
	superviseInterval = 250 * time.Millisecond
	// stableAfter is how long HAProxy has to run until it counts as stable: it is restarted without delay, and what it serves is
	// what a rollback goes back to.
	stableAfter = 10 * time.Second
	// maxRestartInterval bounds the time between two attempts to start a HAProxy that does not stay up.
	maxRestartInterval = 30 * time.Second
	// notServingLimit is how long a master may be without a worker, or not answer, before it is restarted.
	notServingLimit = time.Second
)

// A supervisor restarts HAProxy when it ends, and corrects drift.
type supervisor struct {
	*Sink
	backoff     *backoff.ExponentialBackOff
	nextLoad    time.Time // HAProxy is not started or reloaded again before then
	attempts    int       // to load the desired document since HAProxy was stable
	nextPersist time.Time // what HAProxy serves is not persisted again before a load before then

	notServingSince time.Time // since when there has been a process that does not serve
	observed        time.Time // when what runs was last read
	reloadedFor     string    // the drift for which HAProxy was last reloaded
	reported        *document // the document that was last reported as lost because of its host names
	hang            hang
	restarted       bool // HAProxy was restarted and has not been stable since

	locking   logdedup.Fault // of the files
	looping   logdedup.Fault // HAProxy ends soon after each start
	restoring logdedup.Fault // of files that another program has changed
}

// supervise runs the supervisor until Stop.
func (s *Sink) supervise() {
	ctx, release := s.contextUntilStop(context.Background())
	defer release()
	v := &supervisor{Sink: s, backoff: backoff.NewExponentialBackOff()}
	v.backoff.MaxInterval = maxRestartInterval
	for ctx.Err() == nil {
		if err := v.ready(ctx); err != nil {
			v.locking.Error(s.log, "not supervising HAProxy", err)
		} else {
			v.locking.Resolve(s.log, "supervising HAProxy again")
			v.step(ctx)
		}
		sleep(ctx, superviseInterval)
	}
}

// step checks HAProxy's processes and does what is needed. Actions that need the files or the processes are left to the next
// step while another goroutine changes them.
func (s *supervisor) step(ctx context.Context) {
	st := s.state.Load()
	runs := st.running.Alive()
	if runs {
		s.notServingSince = time.Time{}
		s.starting.Resolve(s.log, "HAProxy serves again", pidAttrs(st.running)...)
		if st.isStable(s.stableAfter) {
			if s.change.TryLock() { // otherwise the next step or load records it
				s.recordStable()
				s.change.Unlock()
			}
			s.backoff.Reset()
			s.nextLoad, s.attempts = time.Time{}, 0
			s.events.finish()
			s.restarted = false
			s.looping.Resolve(s.log, "HAProxy stays up again", pidAttrs(st.running)...)
		}
	}
	if !st.supervised {
		return
	}
	if runs && !s.state.Load().unverified() && !s.hangs() {
		s.correctDrift(ctx)
		return
	}
	if !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	due := !time.Now().Before(s.nextLoad) // decided once: what is not persisted may not be loaded
	if due && !s.persistBeforeLoad(ctx) {
		return
	}
	if !s.change.TryLock() {
		return
	}
	defer s.change.Unlock()
	st = s.state.Load()
	switch {
	case due && st.unpersisted() != nil: // HAProxy was changed meanwhile, which the next step persists
	case st.running.Alive():
		if due { // it may serve the desired document already; loading it again loses no request
			s.nextLoad = time.Now().Add(s.backoff.NextBackOff())
			s.loadDesired(ctx, "because "+cmp.Or(st.unknown, s.hang.reason, "it is unknown what it serves"))
		}
	default:
		s.findOrRestart(ctx, due)
	}
}

// recordStable records that HAProxy has stayed up with what it should run, if it has. The caller holds s.change.
func (s *Sink) recordStable() {
	if st := s.state.Load(); st.stable != st.desired && st.running.Alive() && st.isStable(s.stableAfter) {
		s.update(func(st *state) { st.stable = st.desired })
	}
}

// findOrRestart finds out what runs instead of the HAProxy that ended, and restarts HAProxy if nothing serves and the restart is
// due. The caller holds s.files and s.change.
func (s *supervisor) findOrRestart(ctx context.Context, due bool) {
	before := s.state.Load().running
	now, err := s.controller.Find(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.update(func(st *state) { st.startErr = err })
	case !now.None() && now.Serves(before):
		s.recordForeignLoad(now)
	case !now.None() && s.notServingSince.IsZero():
		s.notServingSince = time.Now()
	case now.None() || time.Since(s.notServingSince) > notServingLimit:
		s.reportCrash()
		if due {
			s.restart(ctx)
		}
	}
}

// restart starts HAProxy with the document that was last applied, or with the previous one if HAProxy has ended soon after it
// loaded that document. The caller holds s.files and s.change.
func (s *supervisor) restart(ctx context.Context) {
	s.nextLoad = time.Now().Add(s.backoff.NextBackOff())
	s.update(func(st *state) { st.restart(s.nextLoad) })
	if s.rollBack(ctx) || s.reportUnresolved(ctx) {
		return
	}
	s.logEnd()
	s.restarted = true
	reason := "because it did not run"
	if ended := s.state.Load().endedAt; !ended.IsZero() {
		reason = fmt.Sprintf("%v after it was found to have ended", time.Since(ended).Round(100*time.Millisecond))
	}
	s.loadDesired(ctx, reason)
}

// errLoop is the error of a HAProxy that was started again and ended before it was stable.
var errLoop = fmt.Errorf("it ended within %v after a restart", stableAfter)

// logEnd logs that HAProxy has ended. Of a HAProxy that ends soon after each start, it logs that only once.
func (s *supervisor) logEnd() {
	args := []any{"pid", process.JoinPids(s.state.Load().running.Pids), "file", s.paths.ConfigFile}
	if causes := messages.Causes(s.controller.Log()); len(causes) > 0 {
		args = append(args, "log", causes)
	}
	switch {
	case s.starting.Cause() != "": // it was logged before the attempt that failed
	case s.restarted:
		s.looping.Error(s.log, "HAProxy keeps ending; starting it again after growing pauses", errLoop, args...)
	default:
		s.log.Warn("HAProxy ended; starting it again", args...)
	}
}

// loadDesired makes HAProxy load what is on disk of the desired document. The caller holds s.files and s.change.
func (s *supervisor) loadDesired(ctx context.Context, reason string) {
	doc := s.restoreDesired()
	reload := s.state.Load().running.Alive()
	s.attempts++
	ctx, done := report.With(ctx)
	defer s.beginLoad(reload)()
	loaded, err := s.load(ctx, doc)
	if ctx.Err() != nil {
		return
	}
	s.reportLoad(reload, reason, done.Result(sdk.Result{}), loaded, err)
	if err != nil {
		s.starting.Error(s.log, "HAProxy cannot be started", err, "retry_in", s.untilNextLoad().Round(time.Millisecond))
		s.update(func(st *state) { st.startErr = err })
		return
	}
	if !s.starting.Resolve(s.log, "HAProxy serves again", pidAttrs(loaded.Instance)...) && s.looping.Cause() == "" {
		s.log.Info("HAProxy serves again", pidAttrs(loaded.Instance)...)
	}
}

// untilNextLoad returns how long HAProxy is not started or reloaded again; 0 if the last load took longer than that.
func (s *supervisor) untilNextLoad() time.Duration { return max(0, time.Until(s.nextLoad)) }

// restoreDesired restores the files of the desired document that another program has changed, and returns the document. It
// returns nil if it is unknown what is on disk.
func (s *supervisor) restoreDesired() *document {
	disk := s.state.Load().onDisk
	if disk == nil {
		return nil
	}
	restored, err := s.restoreFiles(disk.files)
	if err != nil {
		s.restoring.Warn(s.log, "cannot restore files that were changed on disk; HAProxy loads what is there", err)
		return nil
	}
	if restored != "" {
		s.reportFile(restored)
	}
	return disk
}

// pidAttrs returns the log attributes of an instance.
func pidAttrs(i process.Instance) []any {
	return []any{"pid", process.JoinPids(i.Pids), "worker", i.Worker}
}
