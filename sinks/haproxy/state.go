package haproxy

import (
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// A HAProxy that ended crashLoopEnds times within crashLoopTime is in a crash loop. Attempts to start it that fail do not count.
const (
	crashLoopEnds = 3
	crashLoopTime = 5 * time.Minute
)

// A state is what the sink knows about its HAProxy, at one moment. It is never modified once it is published: [Sink.update]
// replaces it, and Health and other readers load it without a lock.
type state struct {
	desired  *document // what HAProxy should run; nil while there is nothing to keep running
	verified bool      // the HAProxy in running is known to serve desired
	offered  bool      // desired was offered to this process, and not only left by the previous one
	onDisk   *document // what was last put on disk, after the check; not desired while a runtime change is not persisted yet
	stable   *document // what HAProxy last stayed up with, or what it served first; nil while unknown

	supervised bool          // HAProxy has to run: a document was applied, by this process or the previous one
	loaded     *loadedInputs // the files that HAProxy loaded beside the document; never nil

	running      process.Instance // the HAProxy that serves
	since        time.Time        // when it began to serve
	endedAt      time.Time        // when it was found to have ended; zero while it runs
	unknown      string           // why it is unknown what it serves; empty if nothing is known about that either
	loadingSince time.Time        // when the load in progress began; zero if there is none

	waitingReload *document  // the last document that passed the check and whose reload is deferred
	failedLoad    failedLoad // the last document that HAProxy did not load, or did not stay up with
	checkFirst    bool       // the check refused the last runtime change: the next one is checked before it is made

	startErr   error // why HAProxy could not be started again
	persistErr error // why what runs could not be written to disk
	revertErr  error // why the last runtime change was reverted
	driftErr   error // what HAProxy runs that it should not, although it was reloaded

	loads          int // how often HAProxy was told to load something
	reloads        int // how often a running HAProxy was
	runtimeChanges int
	restarts       int                      // how often it was started again after it ended
	lastEnds       [crashLoopEnds]time.Time // when it was found to have ended, the oldest first
	nextStart      time.Time                // HAProxy is not started again before then
	driftRepairs   int                      // how often changes by another program were undone

	oldWorkers      []int  // workers that were replaced and are still there
	endedOldWorkers int    // how many of them were ended because there were too many
	draining        int    // servers
	unsupported     string // why HAProxy's version cannot be changed at run time; empty if it can
	lastChange      string // the last action and its reason, human-readable
}

// update publishes a copy of the state that change has modified. The caller holds s.change.
func (s *Sink) update(change func(*state)) {
	next := *s.state.Load()
	change(&next)
	s.state.Store(&next)
}

// lockedUpdate is update for a caller that does not hold s.change.
func (s *Sink) lockedUpdate(change func(*state)) {
	s.change.Lock()
	defer s.change.Unlock()
	s.update(change)
}

// apply records that now serves doc, which is also on disk; nil means that the served document is unknown.
func (st *state) apply(doc *document, now process.Instance) {
	st.serve(now)
	if st.stable == nil && doc != nil && doc != st.desired {
		st.stable = st.desired // it has not run for long, or may not run now, and is still the best one to go back to
	}
	st.startErr, st.verified, st.unknown = nil, doc != nil, ""
	if doc != nil {
		st.desired, st.onDisk, st.supervised = doc, doc, true
		st.persistErr, st.revertErr = nil, nil
	}
}

// invalidate records that what now serves is unknown, and why.
func (st *state) invalidate(now process.Instance, why string) {
	st.serve(now)
	st.verified, st.unknown = false, why
}

func (st *state) serve(now process.Instance) {
	if !now.Same(st.running) {
		st.since = time.Now()
	}
	st.endedAt = time.Time{}
	st.running = now
}

// expect records that HAProxy should run, with doc if that is known, and does not.
func (st *state) expect(doc *document) { st.desired, st.onDisk, st.supervised = doc, doc, true }

// restart records that HAProxy is started again because it ended, and not again before next.
func (st *state) restart(next time.Time) {
	st.restarts++
	st.nextStart = next
}

// end records that HAProxy was found to have ended.
func (st *state) end() {
	st.endedAt = time.Now()
	st.lastEnds = [crashLoopEnds]time.Time(append(st.lastEnds[1:], st.endedAt))
}

// isRestarting reports whether HAProxy has ended and is not there again, or is in a crash loop. A reload replaces processes that
// have not ended by themselves.
func (st *state) isRestarting() bool {
	ended := !st.endedAt.IsZero() || !st.running.Alive() && st.loadingSince.IsZero()
	return st.supervised && ended || time.Since(st.lastEnds[0]) < crashLoopTime
}

// persist records that doc, to which HAProxy was changed, is on disk.
func (st *state) persist(doc *document) { st.onDisk, st.persistErr = doc, nil }

// load records that HAProxy begins to load something. A HAProxy that runs is reloaded.
func (st *state) load(reload bool) {
	st.loadingSince = time.Now()
	st.loads++
	if reload {
		st.reloads++
	}
}

// recordOldWorkers records which workers that were replaced are there, and how many were ended now.
func (st *state) recordOldWorkers(old []int, ended int) {
	st.oldWorkers = old
	st.endedOldWorkers += ended
}

// applied returns the document that the HAProxy in now serves, or nil if it is unknown.
func (st *state) applied(now process.Instance) *document {
	if !st.verified || !now.Same(st.running) {
		return nil
	}
	return st.desired
}

// whyUnknown returns why it is unknown what the HAProxy in now serves, or "" if it is known or if that is not known either.
func (st *state) whyUnknown(now process.Instance) string {
	switch {
	case st.applied(now) != nil:
		return ""
	case st.verified:
		return "another program has started or reloaded it"
	}
	return st.unknown
}

// appliedOnDisk returns what was last put on disk of what HAProxy serves, or nil if that is unknown.
func (st *state) appliedOnDisk() *document {
	if !st.verified {
		return nil
	}
	return st.onDisk
}

// unpersisted returns the document to which HAProxy was changed if that is not on disk yet, and nil otherwise.
func (st *state) unpersisted() *document {
	if !st.verified || st.desired == st.onDisk {
		return nil
	}
	return st.desired
}

// unverified reports whether HAProxy has to load a document that was offered to this process, since it is not known to serve it.
func (st *state) unverified() bool { return !st.verified && st.offered && st.desired != nil }

// isStable reports whether HAProxy has served the document for that long.
func (st *state) isStable(after time.Duration) bool {
	return st.verified && !st.running.None() && time.Since(st.since) > after
}

// loadingFor returns how long the load in progress has taken, or 0 if there is none.
func (st *state) loadingFor() time.Duration {
	if st.loadingSince.IsZero() {
		return 0
	}
	return time.Since(st.loadingSince)
}

// problems returns what is wrong although HAProxy may serve.
func (st *state) problems() []string {
	var problems []string
	if st.persistErr != nil {
		problems = append(problems, fmt.Sprintf("what HAProxy runs is not persisted, so a restart of HAProxy would bring back "+
			"the previous configuration: %v", st.persistErr))
	}
	for _, err := range []error{st.revertErr, st.driftErr} {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}
