package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/engine/statestore"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// daemon is a configuration turned into running parts. Another one can take its place, see change.
type daemon struct {
	log     *slog.Logger
	level   *slog.LevelVar // of log
	metrics *server.Metrics
	engine  *engine.Engine
	server  *server.Server
	memory  *statestore.Store // nil for none

	mu    sync.Mutex
	parts *parts

	desks desks
}

// newDaemon builds every part that cfg names and starts the plugins. On an error nothing is left running.
func newDaemon(ctx context.Context, cfg *config.Config, log *slog.Logger, level *slog.LevelVar) (*daemon, error) {
	access, err := newAccessPolicy(cfg.API, log)
	if err != nil {
		return nil, err
	}
	d := &daemon{log: log, level: level, metrics: server.NewMetrics(version()), parts: &parts{cfg: &config.Config{}}}
	if err := d.build(ctx, cfg); err != nil {
		d.close()
		return nil, err
	}
	d.server = server.New(server.Config{
		Engine: d.engine, Metrics: d.metrics, Front: d.front(), EncodeState: sidecar.EncodeState, Access: access, Log: log,
	})
	return d, nil
}

func (d *daemon) build(ctx context.Context, cfg *config.Config) error {
	var err error
	if d.memory, err = openMemory(cfg.API.StateDir, d.log); err != nil {
		return err
	}
	open := d.opener(cfg)
	open.outlast = true
	if d.memory != nil {
		open.kept = d.memory
	}
	if d.parts, err = open.build(ctx, d.parts); err != nil {
		return err
	}
	if err := claimAll(ctx, d.parts.sinks); err != nil {
		return err
	}
	run := d.parts.engine(d.log, d.metrics)
	if d.memory != nil {
		run.StateStore = d.memory
	}
	d.engine, err = engine.New(run)
	return err
}

// openMemory returns nil where nothing is to be kept.
func openMemory(dir string, log *slog.Logger) (*statestore.Store, error) {
	if dir == "" {
		return nil, nil //nolint:nilnil // none is no fault
	}
	store, err := statestore.Open(dir, log)
	if err != nil {
		return nil, &usageError{err}
	}
	return store, nil
}

// close lets go of what is not to be run.
func (d *daemon) close() {
	if d.parts != nil {
		closeAll(d.parts.sources)
		closeAll(d.parts.sinks)
	}
	if d.memory != nil {
		_ = d.memory.Close()
	}
}

func (d *daemon) opener(cfg *config.Config) opener {
	return opener{cfg: cfg, log: d.log, restarted: d.metrics.PluginRestarted}
}

// now returns the parts that are in force.
func (d *daemon) now() *parts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.parts
}

// claimAll makes each sink the only one on what it manages, all at once. What stands in the way is reported in one go.
func claimAll(ctx context.Context, sinks map[string]sdk.Sink) error {
	names := sortedKeys(sinks)
	faults := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		if c, ok := sinks[name].(sdk.Claimer); ok {
			wg.Go(func() { faults[i] = place("sinks", name, c.Claim(ctx)) })
		}
	}
	wg.Wait()
	return errors.Join(faults...)
}

// run serves until ctx is done, and ends everything then: see shutdown. What is to be done beside it gets the same time.
func (d *daemon) run(ctx context.Context, listener net.Listener, beside ...func(context.Context)) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.log.Info("haproxy-api started", "version", version(), "address", listener.Addr().String())
	d.desks.serve = func(ctx context.Context, l net.Listener) {
		if err := d.server.Serve(ctx, l); err != nil {
			cancel(err)
		}
	}
	d.desks.open(listener)
	d.warnIfUnguarded()
	changing := make(chan struct{})
	go func() {
		defer close(changing)
		var wg sync.WaitGroup
		wg.Go(func() { d.engine.Run(running) })
		for _, f := range beside {
			wg.Go(func() { f(running) })
		}
		wg.Wait()
	}()
	<-running.Done()
	if err := d.shutdown(context.WithoutCancel(ctx), changing); err != nil {
		d.log.Warn("haproxy-api ends all the same", "error", err)
	}
	d.log.Info("haproxy-api stopped")
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// warnIfUnguarded looks at who can push.
func (d *daemon) warnIfUnguarded() {
	p := d.now()
	if takesPushes(p.sources[frontName(p.sources, takesPushes)]) {
		warnUnguarded(p.cfg.API, d.desks.address(), d.log)
	}
}

// front returns the source that people see. Who posts to another one has to hear of it.
func (d *daemon) front() server.Front {
	sources := d.now().sources
	front := server.Front{Source: frontName(sources, takesPushes)}
	if receiver, ok := sources[front.Source].(sdk.Receiver); ok {
		front.Receiver = receiver
	}
	for _, name := range sortedKeys(sources) {
		if takesPushes(sources[name]) && name != front.Source {
			d.log.Warn("this source gets no pushes: what is posted to /update is for another",
				"source", name, "other", front.Source)
		}
	}
	return front
}

func takesPushes(s sdk.Source) bool {
	_, ok := s.(sdk.Receiver)
	return ok
}

// frontName picks the one in [sidecar], or else the first by name that takes pushes, or else the first.
func frontName[S any](sources map[string]S, receives func(S) bool) string {
	names := sortedKeys(sources)
	if _, ok := sources[shorthandSource]; ok || len(names) == 0 {
		return shorthandSource
	}
	for _, name := range names {
		if receives(sources[name]) {
			return name
		}
	}
	return names[0]
}
