package haproxy

import (
	"context"
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// observeEvery is how often all that HAProxy runs is read and put right. It costs HAProxy about 20 ms for 10,000 servers.
const observeEvery = 10 * time.Second

// attend looks after a HAProxy that stands.
func (g *guard) attend(ctx context.Context) {
	if g.notes.astray() != nil {
		g.restore(ctx)
		return
	}
	if time.Since(g.observed) > g.observeEvery {
		g.watchConflicts(g.notes.running())
		g.observe(ctx)
		g.observed = time.Now()
		g.looks++
	}
	if content := g.notes.inEffect(g.live.now); content != nil && len(g.live.leaving) > 0 {
		if err := g.live.dismiss(ctx, content.config); err != nil {
			g.doubt(err)
		}
	}
	g.notes.leave(len(g.live.leaving), g.live.tooOld)
}

// observe reads what runs, and puts right what somebody else has changed there or on disk.
func (g *guard) observe(ctx context.Context) {
	now, err := g.proxy.find(ctx)
	noted := g.notes.running()
	switch {
	case err != nil || now.none():
		return // the next look finds the process gone, and Health tells what is wrong
	case !now.same(noted) && now.serving(noted):
		g.astray(now)
		return
	}
	content := g.notes.inEffect(now)
	if content == nil {
		return
	}
	g.observeServers(ctx, now, content)
	if _, disk := g.notes.wanted(); disk == content && !disk.onDisk() {
		if err := g.rewrite(disk.files); err != nil {
			g.log.Warn("what was changed on disk cannot be put back", "error", err)
		}
	}
	if _, disk := g.notes.wanted(); disk == content {
		g.removeObsolete(ctx, now, content)
	}
}

func (g *guard) observeServers(ctx context.Context, now running, content *placed) {
	if _, err := g.proxy.endpoint(now); err != nil || !g.cfg.Runtime {
		return
	}
	g.live.about(now)
	did, err := g.live.align(ctx, content.config, content.config, content.config.Backends())
	if len(did) > 0 {
		g.log.Warn("HAProxy's servers were changed by somebody else and are put right", "commands", did, "error", err)
	}
	_, refused := errors.AsType[*refusal](err)
	switch {
	case !refused:
		g.doubted = ""
		g.notes.stray(nil)
	case g.doubted == err.Error(): // a reload has not helped, and another one would not either
		g.notes.stray(err)
	default:
		g.doubted = err.Error()
		g.doubt(err)
	}
}

// doubt notes that nobody knows what HAProxy serves, so that it is brought back.
func (g *guard) doubt(err error) {
	g.log.Warn("HAProxy has to load its configuration again", "reason", err)
	g.notes.lose(g.notes.running())
}

// astray notes that HAProxy was started or reloaded by somebody else.
func (g *guard) astray(now running) {
	g.log.Warn("HAProxy was started or reloaded by somebody else", "pid", joinPids(now.pids), "worker", now.worker)
	g.live.about(now)
	g.notes.lose(now)
}

// restore has HAProxy load what it should run. What it runs now is not known, and may be the same: loading it again loses
// nobody's request.
func (g *guard) restore(ctx context.Context) {
	if time.Now().Before(g.next) {
		return
	}
	g.next = time.Now().Add(g.backoff.NextBackOff())
	g.bringBack(ctx)
}

// differs returns a command that would be needed to make the servers what config says, and "" where they are.
func (l *live) differs(ctx context.Context, config *syntax.Config) (string, error) {
	if err := l.connect(ctx); err != nil {
		return "", err
	}
	backends := config.Backends()
	seen, err := l.read(ctx, backends, func(name string) bool { return bounded(config.Backend(name)) })
	if err != nil {
		return "", err
	}
	for _, name := range backends {
		commands, err := l.commands(ctx, config.Backend(name), seen)
		if err != nil {
			return "", err
		}
		if len(commands) > 0 {
			return commands[0].text, nil
		}
	}
	l.noteLeaving(config, config, backends, seen)
	return "", nil
}
