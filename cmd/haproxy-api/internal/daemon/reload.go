package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// removeTimeout bounds stopping the components that a configuration reload removes.
const removeTimeout = 5 * time.Second

// reload replaces the running configuration by cfg and returns the difference. Components that the difference keeps are not
// touched. An error joins all faults of cfg, and the previous configuration stays in use. reload is called by one goroutine at a
// time, while Run runs.
func (d *Daemon) reload(ctx context.Context, cfg *config.Config) (diff, error) {
	before := d.components()
	changed := diffConfigs(before.cfg, cfg)
	access, err := newAccessPolicy(cfg.API, d.log)
	var listener net.Listener
	if changed.address {
		var listenErr error
		listener, listenErr = listenNew(ctx, before.cfg.API, cfg.API)
		err = errors.Join(err, listenErr)
	}
	if err != nil {
		if listener != nil {
			_ = listener.Close()
		}
		_, prepareErr := d.newBuilder(cfg).prepare(before.kept(changed))
		return changed, errors.Join(err, prepareErr)
	}
	d.metrics.SetComponents(metricComponents(before.cfg, cfg))
	if err := d.replaceComponents(ctx, before, cfg, changed); err != nil {
		d.metrics.SetComponents(metricComponents(before.cfg))
		if listener != nil {
			_ = listener.Close()
		}
		return changed, err
	}
	// Nothing below can fail.
	d.level.Set(cfg.API.LoggingLevel)
	if changed.access {
		d.server.SetAccessPolicy(access)
	}
	if listener != nil {
		d.http.start(listener)
	}
	if changed.tracing {
		if err := d.tracer.Configure(ctx, cfg.Tracing); err != nil {
			d.log.Error("traces cannot be sent", "error", err)
		}
	}
	if len(changed.describe(cfg.API)) > 0 {
		d.warnIfPushIsOpen()
	}
	existing := metricComponents(cfg)
	d.metrics.SetComponents(existing)
	d.events.SetComponents(existing)
	d.series.SetComponents(existing)
	return changed, nil
}

// listenNew listens at the address in the new configuration.
func listenNew(ctx context.Context, before, next config.API) (net.Listener, error) {
	listener, err := Listen(ctx, next)
	if errors.Is(err, syscall.EADDRINUSE) && before.BindPort == next.BindPort {
		err = fmt.Errorf("%w; if this haproxy-api itself uses the port, restart it", err)
	}
	return listener, err
}

// replaceComponents builds the components of cfg and makes the engine run them.
func (d *Daemon) replaceComponents(ctx context.Context, before *components, cfg *config.Config, changed diff) error {
	next, err := d.newBuilder(cfg).build(ctx, before.kept(changed))
	if err != nil {
		return err
	}
	err = d.engine.Change(ctx, d.engineConfig(next), func() (engine.Config, error) {
		active, err := d.handOver(ctx, before, next, changed)
		d.mu.Lock()
		d.running = active
		d.mu.Unlock()
		// Before any source is watched, so that the first push is not late; also for sources that are started again.
		if !maps.Equal(before.sources, active.sources) {
			d.server.SetFront(d.front())
		}
		return d.engineConfig(active), err
	})
	if err != nil {
		next.added(changed).close()
	}
	return err
}

// handOver stops the removed components, then claims the files of the added sinks. If a claim fails, it builds the previous
// components again and returns them with the error.
func (d *Daemon) handOver(ctx context.Context, before, next *components, changed diff) (*components, error) {
	d.stopRemoved(ctx, before, changed)
	added := next.added(changed)
	err := claim(ctx, added.sinks)
	if err == nil {
		return next, nil
	}
	added.close() // releases the files that the previous sinks claim again
	kept := before.kept(changed)
	kept.templates, kept.inputs = before.templates, before.inputs
	builder := d.newBuilder(before.cfg)
	builder.retryStart = true
	restored, restoreErr := builder.build(ctx, kept)
	if restoreErr != nil {
		return before, errors.Join(err, fmt.Errorf("restarting the previous components: %w", restoreErr))
	}
	return restored, errors.Join(err, claim(ctx, pick(restored.sinks, changed.sinks.removed)))
}

// stopRemoved stops the removed sources and sinks in parallel. A sink that is replaced is only closed: its HAProxy keeps
// running, and the new sink takes it over.
func (d *Daemon) stopRemoved(ctx context.Context, before *components, changed diff) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for name, sink := range pick(before.sinks, changed.sinks.removed) {
		wg.Go(func() { d.stopComponent(ctx, "sink", name, sink, !changed.sinks.replaced(name)) })
	}
	for name, source := range pick(before.sources, changed.sources.removed) {
		wg.Go(func() { d.stopComponent(ctx, "source", name, source, true) })
	}
	wg.Wait()
}

// stopComponent stops a source or a sink, which kind says, or closes it if it cannot be stopped or if stop is false.
func (d *Daemon) stopComponent(ctx context.Context, kind, name string, component any, stop bool) {
	var err error
	stopper, canStop := component.(sdk.Stopper)
	closer, canClose := component.(io.Closer)
	switch {
	case canStop && stop:
		err = stopper.Stop(ctx)
	case canClose:
		err = closer.Close()
	}
	if err != nil {
		d.log.Warn("component did not stop cleanly", kind, name, "error", err)
	}
}
