// Package daemon composes the program from its configuration, reloads the configuration, serves HTTP and shuts down. It is the
// only package that knows which implementation a type in the configuration stands for. It knows nothing of the command line.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/systemd"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/tracing"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/engine/statestore"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// Options are what a [Daemon] is made from.
type Options struct {
	Config  *config.Config
	Version string // of the program, for logs and metrics
	Log     *slog.Logger
	Level   *slog.LevelVar    // the level of Log, which a configuration reload sets
	Notify  *systemd.Notifier // of the service manager; nil if there is none

	// Process1 says that the daemon is process 1 of a container, with which the system kills every other process. The daemon then
	// ends each HAProxy gracefully before it ends itself, whatever on_exit says.
	Process1 bool
}

// A Daemon runs the components of a configuration. A configuration reload replaces them, see [Reloader].
type Daemon struct {
	version  string
	process1 bool
	log      *slog.Logger
	level    *slog.LevelVar
	metrics  *server.Metrics
	events   *server.Events
	series   *server.Series
	tracer   *tracing.Tracer
	engine   *engine.Engine
	server   *server.Server
	store    *statestore.Store // nil if no state is kept
	stateDir string            // the directory of store; a change of it takes effect after a restart
	notify   *systemd.Notifier // nil if no service manager started the daemon
	http     httpServers

	mu      sync.Mutex
	running *components
}

// A ConfigError is a fault in the configuration, which the user can correct.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// New builds the components of the configuration, starts the plugins and has each sink claim its files. If it returns an error,
// nothing is left running. Faults of the configuration are joined [*ConfigError] values.
func New(ctx context.Context, opts Options) (*Daemon, error) {
	cfg := opts.Config
	access, err := newAccessPolicy(cfg.API, opts.Log)
	d := &Daemon{
		version: opts.Version, process1: opts.Process1, log: opts.Log, level: opts.Level, notify: opts.Notify,
		stateDir: cfg.API.StateDir, metrics: server.NewMetrics(opts.Version),
		events: server.NewEvents(), series: server.NewSeries(),
		tracer: tracing.New(opts.Version, opts.Log), running: &components{cfg: &config.Config{}},
	}
	d.metrics.SetComponents(metricComponents(cfg))
	if err := d.build(ctx, cfg, err); err != nil {
		d.running.close()
		_ = d.tracer.Close(ctx)
		if d.store != nil {
			_ = d.store.Close()
		}
		return nil, err
	}
	serverConfig := server.Config{
		Engine: d.engine, Metrics: d.metrics, Events: d.events, Series: d.series,
		Front: d.front(), EncodeState: sidecar.EncodeState, Access: access, Log: d.log, Version: d.version,
	}
	if d.store != nil {
		serverConfig.StoreProblem = d.store.Problem
	}
	d.server = server.New(serverConfig)
	return d, nil
}

// StartFaults returns what [New] would report of the configuration before it starts any plugin, except faults of the state store.
// It changes nothing.
func StartFaults(cfg *config.Config, log *slog.Logger) error {
	_, accessErr := newAccessPolicy(cfg.API, log)
	_, err := builder{cfg: cfg, log: log}.prepare(&components{})
	return errors.Join(accessErr, err)
}

// build sets the state store, the running components and the engine, as far as it succeeds. It starts no plugin if the
// configuration has faults, which are those that it finds and the given ones.
func (d *Daemon) build(ctx context.Context, cfg *config.Config, faults error) error {
	if err := d.tracer.Configure(ctx, cfg.Tracing); err != nil {
		faults = errors.Join(faults, &ConfigError{err})
	}
	builder := d.newBuilder(cfg)
	builder.retryStart = true
	if err := d.openStore(); err != nil {
		faults = errors.Join(faults, err)
	}
	if d.store != nil {
		builder.store = d.store
	}
	sets, err := builder.prepare(&components{})
	if err := errors.Join(faults, err); err != nil {
		return err
	}
	next, err := builder.open(ctx, &components{}, sets)
	if err != nil {
		return err
	}
	d.running = next
	if err := claim(ctx, next.sinks); err != nil {
		return err
	}
	run := d.engineConfig(next)
	if d.store != nil {
		run.StateStore = d.store
	}
	d.engine, err = engine.New(run)
	return err
}

// openStore opens the state store, if there is a directory for it. The error is a [*ConfigError].
func (d *Daemon) openStore() error {
	if d.stateDir == "" {
		return nil
	}
	directory := stateDirectory(d.stateDir)
	if err := directory.checkForStart(d.log); err != nil {
		return err
	}
	if err := directory.createIfMissing(d.log); err != nil {
		return err
	}
	store, err := statestore.Open(d.stateDir, d.log)
	if err != nil {
		return &ConfigError{err}
	}
	d.store = store
	return nil
}

func (d *Daemon) newBuilder(cfg *config.Config) builder {
	return builder{
		cfg: cfg, log: d.log, onPluginRestart: d.metrics.PluginRestarted, stateDir: d.stateDir, process1: d.process1,
	}
}

// components returns the components that run now.
func (d *Daemon) components() *components {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

// Status returns the status of each pipeline, in the order of their names.
func (d *Daemon) Status() []engine.PipelineStatus { return d.engine.Status() }

// claim has each sink claim its files, in parallel. The error joins the errors of all sinks.
func claim(ctx context.Context, sinks map[string]sdk.Sink) error {
	return parallel(sinks, func(name string, sink sdk.Sink) error {
		if c, ok := sink.(sdk.Claimer); ok {
			return withTable("sinks", name, c.Claim(ctx))
		}
		return nil
	})
}

// Run serves on listener and runs the engine until ctx is done, and then shuts down within five seconds; as process 1, each
// HAProxy has until its drain_timeout in addition. The background functions run beside the engine and must return when their
// context is done. Run returns an error only if the HTTP server fails.
func (d *Daemon) Run(ctx context.Context, listener net.Listener, background ...func(context.Context)) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.log.Info("haproxy-api started", "version", d.version, "address", listener.Addr().String())
	d.http.serve = func(ctx context.Context, l net.Listener) {
		if err := d.server.Serve(ctx, l); err != nil {
			cancel(err)
		}
	}
	d.http.start(listener)
	d.warnIfPushIsOpen()
	idle := make(chan struct{}) // closed when the engine and the background functions have returned
	go func() {
		defer close(idle)
		var wg sync.WaitGroup
		wg.Go(func() { d.engine.Run(running) })
		wg.Go(func() { d.notify.Run(running, d.server) })
		for _, f := range background {
			wg.Go(func() { f(running) })
		}
		wg.Wait()
	}()
	<-running.Done()
	d.notify.Stopping()
	if err := d.shutdown(context.WithoutCancel(ctx), idle); err != nil {
		d.log.Warn("shutdown incomplete", "error", err)
	}
	d.log.Info("haproxy-api stopped")
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// front returns the source whose state is served and that receives pushes. It warns of other sources that expect pushes.
func (d *Daemon) front() server.Front {
	running := d.components()
	front := server.Front{Source: FrontSource(running.cfg)}
	if receiver, ok := running.sources[front.Source].(sdk.Receiver); ok {
		front.Receiver = receiver
	}
	warnOtherReceivers(running.sources, front.Source, d.log)
	return front
}

// warnOtherReceivers logs a warning for each source that expects pushes, except that of front, which receives them.
func warnOtherReceivers(sources map[string]sdk.Source, front string, log *slog.Logger) {
	for _, name := range sortedKeys(sources) {
		if _, ok := sources[name].(sdk.Receiver); ok && name != front {
			log.Warn("source receives no pushes; requests to /update go to another source", "source", name, "other", front)
		}
	}
}

// FrontSource returns the name of the source that receives pushes and whose state the daemon serves: the one in [sidecar], else
// the first by name that receives pushes, else the first by name.
func FrontSource(cfg *config.Config) string {
	names := sortedKeys(cfg.Sources)
	if _, ok := cfg.Sources[config.ShorthandSource]; ok || len(names) == 0 {
		return config.ShorthandSource
	}
	for _, name := range names {
		if cfg.Sources[name].Type == typeSidecarPush {
			return name
		}
	}
	return names[0]
}
