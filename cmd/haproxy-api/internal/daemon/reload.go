package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// releaseWithin bounds the orderly end of what is no longer in the configuration.
const releaseWithin = 5 * time.Second

// change puts cfg in force instead of the configuration before and returns what has changed, in words. Parts whose configuration
// is the same are not touched. An error tells all that is wrong with cfg, and nothing has changed then. It is called from one
// goroutine at a time, while run runs.
func (d *daemon) change(ctx context.Context, cfg *config.Config) ([]string, error) {
	before := d.now()
	access, err := newAccessPolicy(cfg.API, d.log)
	if err != nil {
		return nil, err
	}
	listener, err := relisten(ctx, before.cfg.API, cfg.API)
	if err != nil {
		return nil, err
	}
	next, err := d.opener(cfg).build(ctx, before)
	if err == nil {
		err = d.swap(ctx, next)
		next.closeBut(d.now())
	}
	if err != nil {
		if listener != nil {
			_ = listener.Close()
		}
		return nil, err
	}
	changed := differences(before, next)
	// Nothing below can fail.
	d.level.Set(cfg.API.LoggingLevel)
	if mayPush(before.cfg.API) != mayPush(cfg.API) {
		d.server.SetAccessPolicy(access)
	}
	if listener != nil {
		d.desks.open(listener)
	}
	if len(changed) > 0 {
		d.warnIfUnguarded()
	}
	forget(d.metrics, "pipeline", before.cfg.Pipelines, cfg.Pipelines)
	forget(d.metrics, "sink", before.cfg.Sinks, cfg.Sinks)
	forget(d.metrics, "source", before.cfg.Sources, cfg.Sources)
	return changed, nil
}

// forget removes the metrics of what is in before and not in next.
func forget[C any](metrics *server.Metrics, kind string, before, next map[string]C) {
	for name := range before {
		if _, ok := next[name]; !ok {
			metrics.Forget(kind, name)
		}
	}
}

// relisten opens the address in the new configuration, where it is another one.
func relisten(ctx context.Context, before, next config.API) (net.Listener, error) {
	if before.BindIP == next.BindIP && before.BindPort == next.BindPort {
		return nil, nil //nolint:nilnil // nothing is to be opened, and nothing is wrong
	}
	listener, err := server.Listen(ctx, net.JoinHostPort(next.BindIP, strconv.Itoa(next.BindPort)))
	if errors.Is(err, syscall.EADDRINUSE) && before.BindPort == next.BindPort {
		err = fmt.Errorf("%w; if it is this haproxy-api that has the port, restart it", err)
	}
	return listener, err
}

// swap has the engine run next. Whatever comes of it, the parts that run then are in force.
func (d *daemon) swap(ctx context.Context, next *parts) error {
	return d.engine.Change(ctx, next.engine(d.log, d.metrics), func() (engine.Config, error) {
		run, err := d.handOver(ctx, next)
		d.mu.Lock()
		before := d.parts
		d.parts = run
		d.mu.Unlock()
		// Before any source is watched, so that none gets its pushes late; and also where what was there before is opened anew.
		if !maps.Equal(before.sources, run.sources) {
			d.server.SetFront(d.front())
		}
		return run.engine(d.log, d.metrics), err
	})
}

// handOver ends what next does not have and has its sinks claim what they manage. Where one of them cannot, what was ended is
// opened anew and returned with the reason.
func (d *daemon) handOver(ctx context.Context, next *parts) (*parts, error) {
	before := d.now()
	d.end(ctx, before, next)
	err := claimAll(ctx, but(next.sinks, before.sinks))
	if err == nil {
		return next, nil
	}
	closeAll(but(next.sinks, before.sinks)) // which lets go of what the others have to claim
	closeAll(but(next.sources, before.sources))
	open := d.opener(before.cfg)
	open.outlast = true
	again, unable := open.build(ctx, kept(before, next))
	if unable != nil {
		return before, errors.Join(err, fmt.Errorf("and what was there before does not start again: %w", unable))
	}
	return again, errors.Join(err, claimAll(ctx, but(again.sinks, before.sinks)))
}

// kept are the parts of before that next has as well, with the configuration of before.
func kept(before, next *parts) *parts {
	p := *before
	p.sources, p.sinks = both(before.sources, next.sources), both(before.sinks, next.sinks)
	return &p
}

// both returns the parts that are the same in a and b.
func both[T comparable](a, b map[string]T) map[string]T {
	same := map[string]T{}
	for name, part := range a {
		if b[name] == part {
			same[name] = part
		}
	}
	return same
}

// end ends what is in before and not in next. A sink whose name goes on has a successor, so it releases nothing, as in a crash.
func (d *daemon) end(ctx context.Context, before, next *parts) {
	ctx, cancel := context.WithTimeout(ctx, releaseWithin)
	defer cancel()
	var wg sync.WaitGroup
	for name, sink := range but(before.sinks, next.sinks) {
		_, succeeded := next.sinks[name]
		wg.Go(func() { d.endPart(ctx, name, sink, !succeeded) })
	}
	for name, source := range but(before.sources, next.sources) {
		wg.Go(func() { d.endPart(ctx, name, source, true) })
	}
	wg.Wait()
}

func (d *daemon) endPart(ctx context.Context, name string, part any, orderly bool) {
	var err error
	stopper, stops := part.(sdk.Stopper)
	closer, closes := part.(io.Closer)
	switch {
	case stops && orderly:
		err = stopper.Stop(ctx)
	case closes:
		err = closer.Close()
	}
	if err != nil {
		d.log.Warn("not everything stopped in order", "name", name, "error", err)
	}
}

// differences says in words what next has otherwise than before.
func differences(before, next *parts) []string {
	var all []string
	all = append(all, changes("source", before.sources, next.sources)...)
	for name, source := range both(before.sources, next.sources) {
		if source != nil && before.cfg.Sources[name].Guard != next.cfg.Sources[name].Guard {
			all = append(all, "guard of source "+name+" changed")
		}
	}
	slices.Sort(all)
	all = append(all, changes("sink", before.sinks, next.sinks)...)
	was, is := before.cfg.Pipelines, next.cfg.Pipelines
	for _, name := range sortedKeys(union(was, is)) {
		_, there := was[name]
		_, stays := is[name]
		switch {
		case !there:
			all = append(all, "pipeline "+name+" added")
		case !stays:
			all = append(all, "pipeline "+name+" removed")
		case !reflect.DeepEqual(was[name], is[name]):
			all = append(all, "pipeline "+name+" changed")
		}
	}
	a, b := before.cfg.API, next.cfg.API
	if a.BindIP != b.BindIP || a.BindPort != b.BindPort {
		all = append(all, fmt.Sprintf("listens on %s", net.JoinHostPort(b.BindIP, strconv.Itoa(b.BindPort))))
	}
	if mayPush(a) != mayPush(b) {
		all = append(all, "access policy changed")
	}
	if a.LoggingLevel != b.LoggingLevel {
		all = append(all, "logs from level "+b.LoggingLevel.String())
	}
	return all
}

// mayPush is the same for configurations with the same access policy.
func mayPush(api config.API) string {
	return fmt.Sprintf("%q %v %q %q %q %q %q %v",
		api.UpdateToken, api.AllowFrom, api.TLSCert, api.TLSKey, api.ClientCA, api.CORSOrigins,
		allowedHosts(api), api.ProtectReads)
}

func changes[T comparable](kind string, before, next map[string]T) []string {
	var all []string
	for _, name := range sortedKeys(union(before, next)) {
		was, there := before[name]
		is, stays := next[name]
		switch {
		case !there:
			all = append(all, kind+" "+name+" added")
		case !stays:
			all = append(all, kind+" "+name+" removed")
		case was != is:
			all = append(all, kind+" "+name+" restarted")
		}
	}
	return all
}

func union[T any](a, b map[string]T) map[string]T {
	all := map[string]T{}
	for _, m := range []map[string]T{a, b} {
		for name, v := range m {
			all[name] = v
		}
	}
	return all
}

// needRestart names the keys that differ and take effect with a restart only.
func needRestart(before, next config.API) []string {
	var keys []string
	if before.LoggingFormat != next.LoggingFormat {
		keys = append(keys, "haproxy_api.logging_format")
	}
	if before.StateDir != next.StateDir {
		keys = append(keys, "haproxy_api.state_dir")
	}
	return slices.Clip(keys)
}
