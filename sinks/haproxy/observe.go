package haproxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// observeEvery is how often all that HAProxy runs is read and put right. It costs HAProxy about 20 ms for 10,000 servers.
const observeEvery = 10 * time.Second

// removeLimit bounds one attempt to remove servers that drain.
const removeLimit = 10 * time.Second

var errRemoveLimit = errors.New("HAProxy does not answer in time")

// attend looks after a HAProxy that stands.
func (g *guard) attend(ctx context.Context) {
	if time.Since(g.observed) > g.observeEvery && g.observe(ctx) {
		g.observed = time.Now()
		g.looks.Add(1)
	}
	g.removeServers(ctx)
}

// A look is what is read of HAProxy, on a connection of its own, while others may change it. What is learned from it holds only
// where that has not happened.
type look struct {
	client  *runtimeapi.Client // an observer from when the look began
	now     running
	content *placed // what HAProxy should run; nil while it is not known whether it does
	loads   int     // how often HAProxy had been told to load something
}

// beginLook begins a look. After it comes its client.Close.
func (g *guard) beginLook() look {
	g.change.Lock()
	defer g.change.Unlock()
	now := g.state.Load().running
	client := g.clientFor(now)
	g.noteDraining()
	st := g.state.Load()
	return look{client.Observer(), now, st.applied(now), st.loads}
}

// endLook calls conclude with what HAProxy should run, and with s.change held, unless HAProxy is another one than when the look
// began, was told to load something since, or nobody knows any more what it runs.
func (g *guard) endLook(l look, conclude func(content *placed)) bool {
	g.change.Lock()
	defer g.change.Unlock()
	st := g.state.Load()
	content := st.applied(g.clientOf)
	if content == nil || !g.clientOf.same(l.now) || st.loads != l.loads {
		return false
	}
	conclude(content)
	return true
}

// observe reads what runs, and puts right what somebody else has changed there or on disk. It returns false where HAProxy was
// changed meanwhile, so that it has to be read again.
func (g *guard) observe(ctx context.Context) bool {
	g.observeHang()
	if !g.observeConflicts() || !g.observeOldWorkers(ctx) {
		return false
	}
	if g.observeProcesses(ctx); g.state.Load().unverified() {
		return true
	}
	if !g.observeServers(ctx) {
		return false
	}
	g.observeFiles()
	g.observeCompanions(ctx)
	return true
}

// observeConflicts looks for conflicts with the HAProxy that runs. While HAProxy is made to load something, its processes are not
// those that were noted.
func (g *guard) observeConflicts() bool {
	before := g.state.Load()
	if before.loadingFor() > 0 {
		return false
	}
	found, err := g.paths.conflicts(before.running, g.cfg.Binary)
	if after := g.state.Load(); after.loads != before.loads {
		return false
	}
	g.conflicts.note(found, err, g.log)
	return true
}

// observeProcesses finds out whether somebody else has started or reloaded HAProxy.
func (g *guard) observeProcesses(ctx context.Context) {
	other := func() (running, bool) {
		now, err := g.proxy.find(ctx)
		noted := g.state.Load().running
		// Where none is found, the next look at the processes finds them gone, and Health tells what is wrong.
		return now, err == nil && !now.none() && !now.same(noted) && now.serving(noted)
	}
	if _, is := other(); !is {
		return
	}
	g.change.Lock()
	defer g.change.Unlock()
	if now, is := other(); is { // still, and it is nobody of ours who reloads
		g.astray(now)
	}
}

// observeServers reads the servers that run, and makes them what they should be.
func (g *guard) observeServers(ctx context.Context) bool {
	l := g.beginLook()
	defer l.client.Close()
	if _, err := g.proxy.endpoint(l.now); err != nil || !g.cfg.Runtime || l.content == nil {
		return true
	}
	differing, err := l.client.Differing(ctx, l.content.config)
	return g.endLook(l, func(content *placed) {
		g.client.Merge(l.client)
		if err == nil {
			g.concludeServers(ctx, l, content, differing)
		}
	})
}

// concludeServers takes over what a look has found out about backends that were not changed since, and reads those that differ
// once more to correct them.
func (g *guard) concludeServers(ctx context.Context, l look, content *placed, differing []string) {
	known := slices.DeleteFunc(slices.Clone(differing), func(backend string) bool {
		return !g.client.UnchangedSince(l.client, backend) || content.config.Backend(backend) == nil
	})
	if len(known) == 0 && len(differing) > 0 {
		return
	}
	var err error
	if len(known) > 0 {
		err = g.correctServers(ctx, content, known)
	}
	switch {
	case !runtimeapi.IsRefused(err):
		g.doubted = ""
		g.stray(nil)
	case g.doubted == err.Error(): // a reload has not helped, and another one would not either
		g.stray(err)
	default:
		g.doubted = err.Error()
		g.doubt(err)
	}
}

func (g *guard) correctServers(ctx context.Context, content *placed, backends []string) error {
	did, err := g.client.Reconcile(ctx, content.config, content.config, backends)
	if len(did) > 0 {
		g.log.Warn("HAProxy's servers were changed by somebody else and are put right", "commands", did, "error", err)
	}
	return err
}

// observeFiles puts back what somebody else has changed on disk.
func (g *guard) observeFiles() {
	asWritten := func() bool {
		st := g.state.Load()
		return st.onDisk != st.desired || st.onDisk == nil || st.onDisk.onDisk()
	}
	if asWritten() || !g.tryLockFiles() {
		return
	}
	defer g.unlockFiles()
	if asWritten() {
		return
	}
	if err := g.rewrite(g.state.Load().onDisk.files); err != nil {
		g.restores.Warn(g.log, "what was changed on disk cannot be put back", err)
	} else {
		g.restores.Resolve(g.log, "what was changed on disk is put back")
	}
}

// removeServers deletes the servers that leave and have nothing to do any more, and cuts off those whose time is over. Where a
// reload has to remove one, HAProxy has to load its configuration again.
//
// HAProxy refuses to delete a server that still has connections, idle ones included. That is why it is asked again.
func (g *guard) removeServers(ctx context.Context) {
	l := g.beginLook()
	defer l.client.Close()
	if l.client.Draining() == 0 || l.content == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, removeLimit, errRemoveLimit)
	defer cancel()
	state, err := l.client.ReadDraining(ctx)
	g.endLook(l, func(content *placed) {
		if err == nil {
			g.client.RemoveDrained(ctx, content.config, state)
		}
		if stuck := g.client.Stuck(); err == nil && stuck != nil {
			g.doubt(stuck)
		}
		g.noteDraining()
	})
}

// noteDraining publishes what the client knows about draining servers and about HAProxy's version. The caller holds s.change.
func (g *guard) noteDraining() {
	draining, unsupported := g.client.Draining(), g.client.Unsupported()
	if st := g.state.Load(); st.draining != draining || st.unsupported != unsupported {
		g.update(func(st *state) { st.draining, st.unsupported = draining, unsupported })
	}
}

// doubt notes that nobody knows what HAProxy serves, so that it is brought back.
func (g *guard) doubt(err error) {
	g.log.Warn("HAProxy has to load its configuration again", "reason", err)
	g.update(func(st *state) { st.invalidate(st.running) })
}

// astray notes that HAProxy was started or reloaded by somebody else.
func (g *guard) astray(now running) {
	g.log.Warn("HAProxy was started or reloaded by somebody else", "pid", joinPids(now.pids), "worker", now.worker)
	g.clientFor(now)
	g.update(func(st *state) { st.invalidate(now) })
}

// restore has HAProxy load what it should run. What it runs now is not known, and may be the same: loading it again loses
// nobody's request.
func (g *guard) restore(ctx context.Context, due bool) {
	if !due {
		return
	}
	g.next = time.Now().Add(g.backoff.NextBackOff())
	g.bringBack(ctx)
}
