package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/memory"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// daemon is a configuration turned into running parts.
type daemon struct {
	cfg     *config.Config
	log     *slog.Logger
	engine  *engine.Engine
	server  *server.Server
	sources map[string]sdk.Source
	sinks   map[string]sdk.Sink
	memory  *memory.Store // nil for none
}

// newDaemon builds every part that cfg names and starts the plugins. On an error nothing is left running.
func newDaemon(ctx context.Context, cfg *config.Config, log *slog.Logger) (*daemon, error) {
	sets, err := loadTemplates(cfg)
	if err != nil {
		return nil, err
	}
	door, err := newDoor(cfg.API, log)
	if err != nil {
		return nil, err
	}
	metrics := server.NewMetrics(version())
	open := opener{cfg: cfg, log: log, restarted: metrics.PluginRestarted}
	d := &daemon{cfg: cfg, log: log}
	if d.memory, err = openMemory(cfg.API.StateDir, log); err != nil {
		return nil, err
	}
	if d.sources, err = open.sources(ctx); err != nil {
		d.close()
		return nil, err
	}
	if d.sinks, err = open.sinks(ctx); err != nil {
		d.close()
		return nil, err
	}
	if err := claimAll(ctx, d.sinks); err != nil {
		d.close()
		return nil, err
	}
	parts := engine.Config{
		Sources: guardSources(cfg, d.sources), Pipelines: joinPipelines(cfg, sets, d.sinks), Log: log, Observer: metrics,
	}
	if d.memory != nil {
		parts.Memory = d.memory
	}
	if d.engine, err = engine.New(parts); err != nil {
		d.close()
		return nil, err
	}
	shown, receiver := frontSource(d.sources)
	for _, name := range sortedKeys(d.sources) {
		if _, ok := d.sources[name].(sdk.Receiver); ok && name != shown {
			log.Warn("this source gets no pushes: what is posted to /update is for another", "source", name, "other", shown)
		}
	}
	d.server = server.New(server.Config{
		Engine: d.engine, Metrics: metrics, Source: shown, Receiver: receiver, EncodeState: sidecar.EncodeState,
		Door: door, Log: log,
	})
	return d, nil
}

// openMemory returns nil where nothing is to be kept.
func openMemory(dir string, log *slog.Logger) (*memory.Store, error) {
	if dir == "" {
		return nil, nil //nolint:nilnil // none is no fault
	}
	store, err := memory.Open(dir, log)
	if err != nil {
		return nil, &usageError{err}
	}
	return store, nil
}

// close lets go of what is not to be run.
func (d *daemon) close() {
	closeAll(d.sources)
	closeAll(d.sinks)
	if d.memory != nil {
		_ = d.memory.Close()
	}
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

// run serves until ctx is done, and ends everything then: see shutdown.
func (d *daemon) run(ctx context.Context, listener net.Listener) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	d.log.Info("haproxy-api started", "version", version(), "address", listener.Addr().String())
	if _, receiver := frontSource(d.sources); receiver != nil {
		warnUnguarded(d.cfg.API, listener.Addr(), d.log)
	}
	var serving error
	served, changing := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		defer cancel()
		serving = d.server.Serve(running, listener)
	}()
	go func() {
		defer close(changing)
		d.engine.Run(running)
	}()
	<-running.Done()
	if err := d.shutdown(context.WithoutCancel(ctx), changing); err != nil {
		d.log.Warn("haproxy-api ends all the same", "error", err)
	}
	<-served
	d.log.Info("haproxy-api stopped")
	return serving
}

// frontSource returns the source of which /state and /health tell, and what takes the pushes; nil where it takes none.
func frontSource(sources map[string]sdk.Source) (string, http.Handler) {
	front := frontName(sources, func(s sdk.Source) bool { _, ok := s.(sdk.Receiver); return ok })
	receiver, _ := sources[front].(sdk.Receiver)
	if receiver == nil {
		return front, nil
	}
	return front, receiver
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
