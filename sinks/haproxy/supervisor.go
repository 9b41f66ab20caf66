package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
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

// ready begins to watch over HAProxy, at the first call, and adopts what runs as soon as nobody else has a claim on it. Until
// then it returns an error, and nothing may be touched.
func (s *Sink) ready(ctx context.Context) error {
	s.begin.Do(func() {
		s.watching.Go(s.supervise)
		s.watching.Go(func() {
			ctx, release := s.untilStopped(context.Background())
			defer release()
			s.persistLoop(ctx)
		})
	})
	if err := s.fileLock.Ensure(); err != nil {
		return err
	}
	s.adopting.Do(func() { s.adopt(ctx) })
	return nil
}

// adopt finds out what runs and whether it is what the process before us left in effect.
func (s *Sink) adopt(ctx context.Context) {
	// Whoever asks first may be in a hurry; what is found here holds for everybody after.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptLimit)
	defer cancel()
	s.change.Lock()
	defer s.change.Unlock()
	left, have := readStateFile(s.paths.state)
	s.paths.sweep(left)
	s.companions.load(left, s.paths.ConfigFile)
	var doc *document
	if have {
		if files, ok := left.load(s.paths); ok {
			doc = parseDocument(files, nil)
			doc.generation = left.Generation
		}
		s.update(func(st *state) { st.expect(doc) })
	}
	now, err := s.controller.Find(ctx)
	s.checkConflicts(now)
	switch {
	case err != nil:
		s.log.Warn("cannot tell whether HAProxy runs", "error", err)
		s.update(func(st *state) { st.startErr = err })
	case now.None():
		s.log.Info("no HAProxy runs", "pid_file", s.paths.PidFile)
	case doc != nil && left.isFor(now) && left.inEnvironment(doc) && s.runs(ctx, now, doc):
		s.log.Info("adopted the running HAProxy", "pid", process.JoinPids(now.Pids), "worker", now.Worker)
		s.update(func(st *state) {
			st.loaded = &loaded{left.Inputs, left.Watched}
			st.apply(doc, now)
		})
	default:
		s.log.Info("adopted a running HAProxy; what it serves is not known", "pid", process.JoinPids(now.Pids), "worker", now.Worker)
		s.update(func(st *state) { st.apply(nil, now) })
	}
}

// runs reports whether the servers of the HAProxy that was found are those of doc, as far as that can be asked: the process
// before us may have died between a change of them and the file.
func (s *Sink) runs(ctx context.Context, now process.Instance, doc *document) bool {
	if _, err := s.controller.Endpoint(now); err != nil || !s.cfg.Runtime {
		return true
	}
	differs, err := s.clientFor(now).Difference(ctx, doc.config)
	if runtimeapi.IsUnsupported(err) {
		return true // nobody can tell, and nobody could have changed it
	}
	if err != nil {
		s.log.Warn("cannot tell what the running HAProxy serves", "error", err)
	} else if differs != "" {
		s.log.Warn("the running HAProxy serves something else than the file says", "for_example", differs)
	}
	return err == nil && differs == ""
}

// sweep removes what a crash in the middle of a change has left of its temporary files.
func (p paths) sweep(left stateFile) {
	written := []string{p.ConfigFile, p.state, p.BaseFile, p.PidFile}
	for name := range left.companions(p.ConfigFile) {
		written = append(written, filepath.Join(p.dir(), name))
	}
	replace.RemoveTemporary(p.ConfigFile, written...)
}

// supervise watches over HAProxy until Stop.
func (s *Sink) supervise() {
	ctx, release := s.untilStopped(context.Background())
	defer release()
	g := &supervisor{Sink: s, backoff: backoff.NewExponentialBackOff()}
	g.backoff.MaxInterval = longestRetry
	for ctx.Err() == nil {
		err := g.ready(ctx)
		if err != nil {
			g.claiming.Error(s.log, "HAProxy and its files are left alone", err)
		} else {
			g.claiming.Resolve(s.log, "HAProxy and its files are taken care of again")
			g.look(ctx)
		}
		sleep(ctx, watchInterval)
	}
}

// A supervisor starts HAProxy again when it is gone, and sees to it that it runs what it should.
type supervisor struct {
	*Sink
	backoff  *backoff.ExponentialBackOff
	next     time.Time      // not before then is HAProxy started or reloaded again
	nextSave time.Time      // not before then is what HAProxy serves checked and written to disk again
	silent   time.Time      // since when there has been a process that does not serve
	observed time.Time      // when what runs was last read
	doubted  string         // what the last reload because of that was for
	claiming logdedup.Fault // nothing may be touched
	starting logdedup.Fault // HAProxy
	restores logdedup.Fault // of files that somebody has changed
	hang     hang           // of the HAProxy that stands
	given    *document      // what was last given back to the daemon
}

// look looks after HAProxy. What needs the files or the processes waits for the next time while somebody else changes them, who
// takes care of HAProxy meanwhile.
func (s *supervisor) look(ctx context.Context) {
	st := s.state.Load()
	stands := st.running.Alive()
	if stands {
		s.silent = time.Time{}
		s.starting.Resolve(s.log, "HAProxy serves again", "pid", process.JoinPids(st.running.Pids), "worker", st.running.Worker)
		if st.isStable(s.stableAfter) {
			s.noteStable()
			s.backoff.Reset()
			s.next = time.Time{}
		}
	}
	if !st.supervised {
		return
	}
	if stands && !s.state.Load().unverified() && !s.hangs() {
		s.attend(ctx)
		return
	}
	if !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	due := !time.Now().Before(s.next) // decided once: what is not saved may not be replaced
	if due && !s.saveChanges(ctx) {
		return
	}
	if !s.change.TryLock() {
		return
	}
	defer s.change.Unlock()
	if due && s.state.Load().unpersisted() != nil {
		return // HAProxy was changed meanwhile, which the next look saves
	}
	if s.state.Load().running.Alive() {
		s.restore(ctx, due)
	} else {
		s.tend(ctx, due)
	}
}

// noteStable records that HAProxy has stayed up with what it should run. While somebody changes HAProxy, it leaves that to the
// next look.
func (s *supervisor) noteStable() {
	if !s.change.TryLock() {
		return
	}
	defer s.change.Unlock()
	if st := s.state.Load(); st.stable != st.desired && st.isStable(s.stableAfter) {
		s.update(func(st *state) { st.stable = st.desired })
	}
}

// tend finds out about a HAProxy that is not the one that was noted. due says that it may be started again.
func (s *supervisor) tend(ctx context.Context, due bool) {
	before := s.state.Load().running
	now, err := s.controller.Find(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.update(func(st *state) { st.startErr = err })
	case now.None():
		s.revive(ctx, due)
	case now.Serves(before):
		s.astray(now)
	case s.silent.IsZero():
		s.silent = time.Now()
	case time.Since(s.silent) > silenceLimit:
		s.revive(ctx, due)
	}
}

// revive starts HAProxy with what was last in effect, unless it was tried too recently and is not due.
func (s *supervisor) revive(ctx context.Context, due bool) {
	if !due {
		return
	}
	s.next = time.Now().Add(s.backoff.NextBackOff())
	s.update(func(st *state) { st.restarts++ })
	if s.rollBack(ctx) || s.giveBack(ctx) {
		return
	}
	if s.starting.Cause() == "" { // else it was logged before the attempt that failed
		s.log.Warn("HAProxy ended; starting it again", "pid", process.JoinPids(s.state.Load().running.Pids), "config_file", s.paths.ConfigFile,
			"log", messages.Causes(s.controller.Log()))
	}
	s.bringBack(ctx)
}

// bringBack has HAProxy load what was last in effect.
func (s *supervisor) bringBack(ctx context.Context) {
	doc := s.prepare()
	reload := s.state.Load().running.Alive()
	s.update(func(st *state) { st.load(reload) })
	defer s.update(func(st *state) { st.loadingSince = time.Time{} })
	if reload {
		s.reloadLimit.recordStart()
		defer s.reloadLimit.recordStart()
	}
	r, err := s.load(ctx, doc)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.starting.Error(s.log, "HAProxy cannot be started", err, "again_in", time.Until(s.next).Round(time.Millisecond))
		s.update(func(st *state) { st.startErr = err })
		return
	}
	if !s.starting.Resolve(s.log, "HAProxy serves again", "pid", process.JoinPids(r.Instance.Pids), "worker", r.Instance.Worker) {
		s.log.Info("HAProxy serves again", "pid", process.JoinPids(r.Instance.Pids), "worker", r.Instance.Worker)
	}
	s.recordApplied(doc, r.Instance)
	s.correctLoaded(ctx, doc, r.Instance)
}

// saveChanges writes to disk what HAProxy was changed to at run time before it loads something again: the change would be lost
// with the process. What has not passed the check yet has to pass it now. It returns false where HAProxy may not load anything
// for now, because it serves what cannot be written yet. The caller holds s.files and not s.change.
func (s *supervisor) saveChanges(ctx context.Context) bool {
	st := s.state.Load()
	content, disk, now := st.desired, st.onDisk, st.running
	if content == disk {
		return true
	}
	serves := now.Alive() && process.WhyNotServing(s.paths.ServingPid(now)) == ""
	if serves && time.Now().Before(s.nextSave) {
		return false
	}
	began := time.Now()
	err := s.install(ctx, content)
	switch {
	case err == nil:
		s.lockedUpdate(func(st *state) { st.persist(content) })
		return true
	case ctx.Err() != nil:
		return true
	case serves && (!errors.Is(err, sdk.ErrRejected) || s.rejects(ctx, disk)):
		s.lockedUpdate(func(st *state) { st.persistErr = err })
		s.nextSave = time.Now().Add(max(persistInterval, persistShare*time.Since(began)))
		return false
	}
	err = fmt.Errorf("the last change at run time is lost with the HAProxy that ended: %w", err)
	s.log.Error("a change is lost", "error", err)
	s.lockedUpdate(func(st *state) { st.desired, st.persistErr, st.checkFirst = st.onDisk, nil, true })
	s.lost(sdk.Lost{Err: err, Generation: generationOf(disk), Digest: content.digest})
	return true
}

// prepare puts on disk what HAProxy should load, where somebody has changed that, and returns it; nil stands for whatever is
// there.
func (s *supervisor) prepare() *document {
	disk := s.state.Load().onDisk
	if disk == nil {
		return nil
	}
	if err := s.rewrite(disk.files); err != nil {
		s.log.Warn("the configuration on disk is not the one that was in effect, and stays", "error", err)
		return nil
	}
	return disk
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
	st, err := stage.New(s.paths.ConfigFile, changed, 0)
	if err != nil {
		return err
	}
	defer st.Discard()
	s.announce(files)
	return st.Commit()
}
