package haproxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// observeEvery is how often all that HAProxy runs is read and put right. It costs HAProxy about 20 ms for 10,000 servers.
const observeEvery = 10 * time.Second

// removeLimit bounds one attempt to remove servers that drain.
const removeLimit = 10 * time.Second

var errRemoveLimit = errors.New("HAProxy does not answer in time")

// attend looks after a HAProxy that stands.
func (s *supervisor) attend(ctx context.Context) {
	if time.Since(s.observed) > s.observeEvery && s.observe(ctx) {
		s.observed = time.Now()
		s.looks.Add(1)
	}
	s.removeServers(ctx)
}

// A look is what is read of HAProxy, on a connection of its own, while others may change it. What is learned from it holds only
// where that has not happened.
type look struct {
	client  *runtimeapi.Client // an observer from when the look began
	now     process.Instance
	content *document // what HAProxy should run; nil while it is not known whether it does
	loads   int       // how often HAProxy had been told to load something
}

// beginLook begins a look. After it comes its client.Close.
func (s *supervisor) beginLook() look {
	s.change.Lock()
	defer s.change.Unlock()
	now := s.state.Load().running
	client := s.clientFor(now)
	s.noteDraining()
	st := s.state.Load()
	return look{client.Observer(), now, st.applied(now), st.loads}
}

// endLook calls conclude with what HAProxy should run, and with s.change held, unless HAProxy is another one than when the look
// began, was told to load something since, or nobody knows any more what it runs.
func (s *supervisor) endLook(l look, conclude func(content *document)) bool {
	s.change.Lock()
	defer s.change.Unlock()
	st := s.state.Load()
	content := st.applied(s.clientOf)
	if content == nil || !s.clientOf.Same(l.now) || st.loads != l.loads {
		return false
	}
	conclude(content)
	return true
}

// observe reads what runs, and puts right what somebody else has changed there or on disk. It returns false where HAProxy was
// changed meanwhile, so that it has to be read again.
func (s *supervisor) observe(ctx context.Context) bool {
	s.observeHang()
	if !s.observeConflicts() || !s.observeOldWorkers(ctx) {
		return false
	}
	if s.observeProcesses(ctx); s.state.Load().unverified() {
		return true
	}
	if !s.observeServers(ctx) {
		return false
	}
	s.observeFiles()
	s.observeCompanions(ctx)
	return true
}

// observeConflicts looks for conflicts with the HAProxy that runs. While HAProxy is made to load something, its processes are not
// those that were noted.
func (s *supervisor) observeConflicts() bool {
	before := s.state.Load()
	if before.loadingFor() > 0 {
		return false
	}
	found, err := s.paths.Conflicts(before.running)
	if after := s.state.Load(); after.loads != before.loads {
		return false
	}
	s.conflicts.Record(found, err, s.log)
	return true
}

// observeProcesses finds out whether somebody else has started or reloaded HAProxy.
func (s *supervisor) observeProcesses(ctx context.Context) {
	other := func() (process.Instance, bool) {
		now, err := s.controller.Find(ctx)
		noted := s.state.Load().running
		// Where none is found, the next look at the processes finds them gone, and Health tells what is wrong.
		return now, err == nil && !now.None() && !now.Same(noted) && now.Serves(noted)
	}
	if _, is := other(); !is {
		return
	}
	s.change.Lock()
	defer s.change.Unlock()
	if now, is := other(); is { // still, and it is nobody of ours who reloads
		s.astray(now)
	}
}

// observeServers reads the servers that run, and makes them what they should be.
func (s *supervisor) observeServers(ctx context.Context) bool {
	l := s.beginLook()
	defer l.client.Close()
	if _, err := s.controller.Endpoint(l.now); err != nil || !s.cfg.Runtime || l.content == nil {
		return true
	}
	differing, err := l.client.Differing(ctx, l.content.config)
	return s.endLook(l, func(content *document) {
		s.client.Merge(l.client)
		if err == nil {
			s.concludeServers(ctx, l, content, differing)
		}
	})
}

// concludeServers takes over what a look has found out about backends that were not changed since, and reads those that differ
// once more to correct them.
func (s *supervisor) concludeServers(ctx context.Context, l look, content *document, differing []string) {
	known := slices.DeleteFunc(slices.Clone(differing), func(backend string) bool {
		return !s.client.UnchangedSince(l.client, backend) || content.config.Backend(backend) == nil
	})
	if len(known) == 0 && len(differing) > 0 {
		return
	}
	var err error
	if len(known) > 0 {
		err = s.correctServers(ctx, content, known)
	}
	switch {
	case !runtimeapi.IsRefused(err):
		s.doubted = ""
		s.stray(nil)
	case s.doubted == err.Error(): // a reload has not helped, and another one would not either
		s.stray(err)
	default:
		s.doubted = err.Error()
		s.doubt(err)
	}
}

func (s *supervisor) correctServers(ctx context.Context, content *document, backends []string) error {
	did, err := s.client.Reconcile(ctx, content.config, content.config, backends)
	if len(did) > 0 {
		s.log.Warn("HAProxy's servers were changed by somebody else and are put right", "commands", did, "error", err)
	}
	return err
}

// observeFiles puts back what somebody else has changed on disk.
func (s *supervisor) observeFiles() {
	asWritten := func() bool {
		st := s.state.Load()
		return st.onDisk != st.desired || st.onDisk == nil || st.onDisk.onDisk()
	}
	if asWritten() || !s.tryLockFiles() {
		return
	}
	defer s.unlockFiles()
	if asWritten() {
		return
	}
	if err := s.rewrite(s.state.Load().onDisk.files); err != nil {
		s.restores.Warn(s.log, "what was changed on disk cannot be put back", err)
	} else {
		s.restores.Resolve(s.log, "what was changed on disk is put back")
	}
}

// removeServers deletes the servers that leave and have nothing to do any more, and cuts off those whose time is over. Where a
// reload has to remove one, HAProxy has to load its configuration again.
//
// HAProxy refuses to delete a server that still has connections, idle ones included. That is why it is asked again.
func (s *supervisor) removeServers(ctx context.Context) {
	l := s.beginLook()
	defer l.client.Close()
	if l.client.Draining() == 0 || l.content == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, removeLimit, errRemoveLimit)
	defer cancel()
	state, err := l.client.ReadDraining(ctx)
	s.endLook(l, func(content *document) {
		if err == nil {
			s.client.RemoveDrained(ctx, content.config, state)
		}
		if stuck := s.client.Stuck(); err == nil && stuck != nil {
			s.doubt(stuck)
		}
		s.noteDraining()
	})
}

// noteDraining publishes what the client knows about draining servers and about HAProxy's version. The caller holds s.change.
func (s *supervisor) noteDraining() {
	draining, unsupported := s.client.Draining(), s.client.Unsupported()
	if st := s.state.Load(); st.draining != draining || st.unsupported != unsupported {
		s.update(func(st *state) { st.draining, st.unsupported = draining, unsupported })
	}
}

// doubt notes that nobody knows what HAProxy serves, so that it is brought back.
func (s *supervisor) doubt(err error) {
	s.log.Warn("HAProxy has to load its configuration again", "reason", err)
	s.update(func(st *state) { st.invalidate(st.running) })
}

// astray notes that HAProxy was started or reloaded by somebody else.
func (s *supervisor) astray(now process.Instance) {
	s.log.Warn("HAProxy was started or reloaded by somebody else", "pid", process.JoinPids(now.Pids), "worker", now.Worker)
	s.clientFor(now)
	s.update(func(st *state) { st.invalidate(now) })
}

// restore has HAProxy load what it should run. What it runs now is not known, and may be the same: loading it again loses
// nobody's request.
func (s *supervisor) restore(ctx context.Context, due bool) {
	if !due {
		return
	}
	s.next = time.Now().Add(s.backoff.NextBackOff())
	s.bringBack(ctx)
}
