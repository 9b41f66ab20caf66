package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

const (
	// observeEvery is how often everything that HAProxy runs is read and compared. It costs HAProxy about 20 ms for 10,000
	// servers.
	observeEvery = 10 * time.Second
	// removeTimeout bounds one attempt to remove draining servers.
	removeTimeout = 10 * time.Second
)

var errRemoveTimeout = errors.New("HAProxy does not answer in time")

// correctDrift reads what the running HAProxy serves, every observeEvery, and corrects changes that something other than this
// sink made there or on disk. It also removes servers that have drained.
func (s *supervisor) correctDrift(ctx context.Context) {
	if time.Since(s.observed) > s.observeEvery && s.checkOnce(ctx) {
		s.observed = time.Now()
		s.observations.Add(1)
	}
	s.removeDrained(ctx)
}

// checkOnce reports whether the check completed. It returns false if HAProxy changed during the check, which must then be
// repeated.
func (s *supervisor) checkOnce(ctx context.Context) bool {
	s.observeHang()
	if !s.observeConflicts() || !s.limitOldWorkers(ctx) {
		return false
	}
	s.detectForeignLoad(ctx)
	if s.state.Load().unverified() {
		return true
	}
	if !s.checkServers(ctx) {
		return false
	}
	s.restoreChangedFiles()
	s.logNoRepairs()
	s.removeUnneededCompanions(ctx)
	return true
}

// observeConflicts looks for conflicts with the running HAProxy. It returns false while HAProxy loads something, since its
// processes are not the recorded ones then.
func (s *supervisor) observeConflicts() bool {
	before := s.state.Load()
	if before.loadingFor() > 0 {
		return false
	}
	found, err := s.paths.Conflicts(before.running)
	if s.state.Load().loads != before.loads {
		return false
	}
	s.conflicts.Record(found, err, s.log)
	return true
}

// detectForeignLoad checks whether another program has started or reloaded HAProxy, and records that.
func (s *supervisor) detectForeignLoad(ctx context.Context) {
	findForeign := func() (now process.Instance, found bool) {
		now, err := s.controller.Find(ctx)
		recorded := s.state.Load().running
		// If none is found, the next step finds that the processes have ended, and Health says what is wrong.
		return now, err == nil && !now.None() && !now.Same(recorded) && now.Serves(recorded)
	}
	if _, found := findForeign(); !found {
		return
	}
	s.change.Lock()
	defer s.change.Unlock()
	if now, found := findForeign(); found { // again, because it may have been a load of the sink's
		s.recordForeignLoad(now)
	}
}

// recordForeignLoad records that another program has started or reloaded HAProxy. The caller holds s.change.
func (s *supervisor) recordForeignLoad(now process.Instance) {
	before := s.state.Load().running
	s.log.Warn("HAProxy was started or reloaded by another program", pidAttrs(now)...)
	s.clientFor(now)
	s.update(func(st *state) { st.invalidate(now, "another program has started or reloaded it") })
	s.events.add(sdk.Event{Kind: sdk.EventForeignReload, Reason: fmt.Sprintf(
		"another program has started or reloaded HAProxy: %s was replaced by %s", describe(before), describe(now))})
}

// requestReload records that the served document is unknown, so that the supervisor makes HAProxy load the desired one. The
// caller holds s.change.
func (s *supervisor) requestReload(reason error) {
	s.log.Warn("HAProxy has to load its configuration again", "reason", reason)
	s.update(func(st *state) { st.invalidate(st.running, reason.Error()) })
}

// An observation is a read of HAProxy on a separate connection. HAProxy may be changed while it is read.
type observation struct {
	client  *runtimeapi.Client // an observer, made when the observation began
	running process.Instance
	applied *document // nil if the served document was unknown
	loads   int
}

// beginObservation begins an observation. The caller closes its client.
func (s *supervisor) beginObservation() observation {
	s.change.Lock()
	defer s.change.Unlock()
	now := s.state.Load().running
	client := s.clientFor(now)
	s.recordDraining()
	st := s.state.Load()
	return observation{client.Observer(), now, st.applied(now), st.loads}
}

// finishObservation calls use with the applied document, and with s.change held. It skips use and returns false if the
// observation is out of date: a different HAProxy runs, a load has begun, or the served document is unknown.
func (s *supervisor) finishObservation(o observation, use func(applied *document)) bool {
	s.change.Lock()
	defer s.change.Unlock()
	st := s.state.Load()
	applied := st.applied(s.clientOf)
	if applied == nil || !s.clientOf.Same(o.running) || st.loads != o.loads {
		return false
	}
	use(applied)
	return true
}

// checkServers reads the running servers and corrects any that drifted. It returns false if the observation is out of date.
func (s *supervisor) checkServers(ctx context.Context) bool {
	o := s.beginObservation()
	defer o.client.Close()
	if _, err := s.controller.Endpoint(o.running); err != nil || !s.cfg.Runtime || o.applied == nil {
		return true
	}
	differing, err := o.client.DifferingBackends(ctx, o.applied.config)
	return s.finishObservation(o, func(applied *document) {
		s.client.Merge(o.client)
		if err == nil {
			s.correctServers(ctx, o, applied, differing)
		}
	})
}

// correctServers corrects the servers of the backends that were observed to differ, except those that were changed since. The
// caller holds s.change.
func (s *supervisor) correctServers(ctx context.Context, o observation, applied *document, differing []string) {
	backends := slices.DeleteFunc(slices.Clone(differing), func(backend string) bool {
		return !s.client.UnchangedSince(o.client, backend) || applied.config.Backend(backend) == nil
	})
	if len(backends) == 0 && len(differing) > 0 {
		return
	}
	var err error
	if len(backends) > 0 {
		var commands []sdk.Command
		commands, err = reconcile(ctx, s.client, applied, applied, backends)
		if len(commands) > 0 {
			s.logRepairedServers(commands, err)
			s.reportDrift(sdk.Event{
				Reason:   "another program had changed servers, and they were set back: in " + messages.Quote(backends),
				Commands: commands, Details: errorLines(err),
			})
		}
	}
	switch {
	case !runtimeapi.IsRefused(err):
		s.reloadedFor = ""
		s.recordDrift(nil)
	case s.reloadedFor == err.Error(): // the reload has not helped, and another one would not either
		s.recordDrift(err)
	default:
		s.reloadedFor = err.Error()
		s.requestReload(err)
	}
}

// recordDrift records the drift that a reload has not corrected; nil means that there is none. The caller holds s.change.
func (s *Sink) recordDrift(err error) {
	s.update(func(st *state) { st.driftErr = err })
	if err != nil {
		s.correcting.Error(s.log, "HAProxy's servers cannot be corrected", err)
	} else {
		s.correcting.Resolve(s.log, "HAProxy's servers are those of its configuration again")
	}
}

// correctLoaded corrects the servers of the HAProxy in now, which has just loaded doc. It returns human-readable descriptions of
// what was corrected and of what could not be. The caller holds s.change.
//
// The servers of a new worker may differ from its configuration: a server-state file (load-server-state-from-file) restores
// earlier addresses, ports, weights and states. doc takes precedence, as it does over runtime changes by another program.
func (s *Sink) correctLoaded(ctx context.Context, doc *document, now process.Instance) []string {
	if _, err := s.controller.Endpoint(now); err != nil || doc == nil {
		return nil // the servers cannot be read
	}
	defer report.Step(ctx, "verify")()
	var commands []sdk.Command
	var err error
	if client := s.clientFor(now); s.cfg.Runtime {
		commands, err = reconcile(ctx, client, doc, doc, doc.config.Backends())
	} else {
		var difference string
		if difference, err = client.FirstNeededCommand(ctx, doc.config); difference != "" {
			err = &runtimeapi.RefusedError{
				Reason: "runtime changes are disabled in the configuration, and a correction would need " + difference,
			}
		}
	}
	var details []string
	if len(commands) > 0 {
		s.log.Warn("corrected servers that differed from the configuration when HAProxy started", "commands", texts(commands))
		details = append(details, fmt.Sprintf("servers differed from the configuration when HAProxy started, as with "+
			"load-server-state-from-file; %d commands corrected them", len(commands)))
	}
	switch {
	case runtimeapi.IsRefused(err):
		err = fmt.Errorf("servers differ from the configuration with which HAProxy started: %w", err)
		details = append(details, err.Error())
	case runtimeapi.IsUnsupported(err):
		err = nil
	case ctx.Err() != nil: // interrupted, for example by Stop
		return details
	case err != nil: // the next observation finds what differs
		s.log.Warn("cannot read which servers HAProxy started with", "error", err)
		return details
	}
	s.recordDrift(err)
	return details
}

// removeDrained deletes the draining servers that no longer have sessions or whose drain timeout has passed. If HAProxy does not
// let it delete one, it requests a reload, which removes the server.
func (s *supervisor) removeDrained(ctx context.Context) {
	o := s.beginObservation()
	defer o.client.Close()
	if o.client.Draining() == 0 || o.applied == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, removeTimeout, errRemoveTimeout)
	defer cancel()
	draining, err := o.client.ReadDraining(ctx)
	s.finishObservation(o, func(applied *document) {
		if err == nil {
			s.client.RemoveDrained(ctx, applied.config, draining)
			if stuck := s.client.Stuck(); stuck != nil {
				s.requestReload(stuck)
			}
		}
		s.recordDraining()
	})
}

// recordDraining records what the client knows about draining servers and about HAProxy's version. The caller holds s.change.
func (s *supervisor) recordDraining() {
	draining, unsupported := s.client.Draining(), s.client.Unsupported()
	if st := s.state.Load(); st.draining != draining || st.unsupported != unsupported {
		s.update(func(st *state) { st.draining, st.unsupported = draining, unsupported })
	}
}

// restoreChangedFiles restores the files that another program has changed.
func (s *supervisor) restoreChangedFiles() {
	pending := func() bool {
		st := s.state.Load()
		return st.onDisk == nil || st.onDisk != st.desired
	}
	if pending() {
		return
	}
	if s.state.Load().onDisk.onDisk() {
		s.restoring.Resolve(s.log, "the files on disk are those that were applied again")
		return
	}
	if !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	if pending() {
		return
	}
	restored, err := s.restoreFiles(s.state.Load().onDisk.files)
	if err != nil {
		s.restoring.Warn(s.log, "cannot restore files that were changed on disk", err)
		return
	}
	s.restoring.Resolve(s.log, "the files on disk are those that were applied again")
	if restored != "" {
		s.change.Lock()
		defer s.change.Unlock()
		s.reportFile(restored)
	}
}

func errorLines(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

// restoreFiles restores the given files of the applied document if another program has changed them on disk. It returns the path
// of one that was changed, or "" if none was. The caller holds s.files.
func (s *Sink) restoreFiles(files []stage.File) (restored string, err error) {
	var changed []stage.File
	for _, f := range files {
		if content, err := os.ReadFile(f.Path); err != nil || !bytes.Equal(content, f.Content) {
			changed = append(changed, f)
		}
	}
	if len(changed) == 0 {
		return "", nil
	}
	staged, err := stage.New(s.paths.ConfigFile, changed, 0)
	if err != nil {
		return "", err
	}
	defer staged.Discard()
	s.announce(files)
	if err := staged.Commit(); err != nil {
		return "", err
	}
	s.logRepairedFile(changed[0].Path)
	return changed[0].Path, nil
}
