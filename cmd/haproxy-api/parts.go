package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	filesink "github.com/haproxy-api/haproxy-api/sinks/file"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
	"github.com/haproxy-api/haproxy-api/templates"
)

// This file is the one place where the names in a configuration meet what is behind them.

// The names that the older tables [sidecar] and [haproxy] get among the general ones.
const (
	shorthandSource = "sidecar"
	shorthandSink   = "haproxy"
)

// opener makes sources and sinks out of what a configuration says about them.
type opener struct {
	cfg       *config.Config
	log       *slog.Logger
	restarted func(plugin string) // told when a plugin ended and runs again; nil for nobody
	outlast   bool                // a plugin that does not start is tried again, and not reported
	kept      engine.StateStore   // whose pipelines can do without a template that loads; nil for none
}

// openAll opens every component of one table but those that stand already, all at once: a plugin that is slow holds up no other.
// What went wrong is reported in one go; what was opened then is closed.
func openAll[C any, T comparable](
	components map[string]C, standing map[string]T, open func(name string, c C) (T, error),
) (map[string]T, error) {
	opened := maps.Clone(standing)
	if opened == nil {
		opened = map[string]T{}
	}
	var names []string
	for _, name := range sortedKeys(components) {
		if _, ok := standing[name]; !ok {
			names = append(names, name)
		}
	}
	faults := make([]error, len(names))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			part, err := open(name, components[name])
			if err != nil {
				faults[i] = err
				return
			}
			mu.Lock()
			defer mu.Unlock()
			opened[name] = part
		})
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		closeAll(but(opened, standing))
		return nil, err
	}
	return opened, nil
}

// but returns those of parts that are not the same in others.
func but[T comparable](parts, others map[string]T) map[string]T {
	rest := maps.Clone(parts)
	maps.DeleteFunc(rest, func(name string, part T) bool { return others[name] == part })
	return rest
}

// closeAll lets go of parts that are not to be run, all at once: what they manage stays as it is.
func closeAll[T any](parts map[string]T) {
	var wg sync.WaitGroup
	for _, part := range parts {
		if c, ok := any(part).(io.Closer); ok {
			wg.Go(func() { _ = c.Close() })
		}
	}
	wg.Wait()
}

func (o opener) sources(ctx context.Context, standing map[string]sdk.Source) (map[string]sdk.Source, error) {
	return openAll(o.cfg.Sources, standing, func(name string, c config.Source) (sdk.Source, error) {
		env := sdk.Env{Name: name, Log: o.log.With("source", name)}
		source, err := o.source(ctx, env, c.Component)
		return source, place("sources", name, err)
	})
}

// isBuiltIn reports whether no plugin is needed for the type.
func isBuiltIn(kind, typ string) bool {
	if kind == "sink" {
		return typ == "file"
	}
	return typ == "sidecar-push" || typ == "sidecar-follow" || typ == "file"
}

func (o opener) source(ctx context.Context, env sdk.Env, c config.Component) (sdk.Source, error) {
	switch c.Type {
	case "sidecar-push":
		return open(env, c, sidecar.PushDefaults(), sidecar.NewPush)
	case "sidecar-follow":
		return open(env, c, sidecar.FollowDefaults(), sidecar.NewFollow)
	case "file":
		return open(env, c, filesource.Defaults(), filesource.New)
	}
	options, err := o.plugin("source", env, c)
	if err != nil {
		return nil, err
	}
	return host.StartSource(ctx, options)
}

func (o opener) sinks(ctx context.Context, standing map[string]sdk.Sink) (map[string]sdk.Sink, error) {
	return openAll(o.cfg.Sinks, standing, func(name string, c config.Component) (sdk.Sink, error) {
		env := sdk.Env{Name: name, Log: o.log.With("sink", name)}
		sink, err := o.sink(ctx, env, c)
		return sink, place("sinks", name, err)
	})
}

func (o opener) sink(ctx context.Context, env sdk.Env, c config.Component) (sdk.Sink, error) {
	if c.Type == "file" {
		return open(env, c, filesink.Defaults(), filesink.New)
	}
	options, err := o.plugin("sink", env, c)
	if err != nil {
		return nil, err
	}
	return host.StartSink(ctx, options)
}

// plugin says how to run the plugin for c. The default plugin is this very program, run like anybody's.
func (o opener) plugin(kind string, env sdk.Env, c config.Component) (host.Options, error) {
	options := host.Options{Name: env.Name, Block: c.Block, Log: env.Log, Outlast: o.outlast}
	if o.restarted != nil {
		options.OnRestart = func() { o.restarted(env.Name) }
	}
	configured, found := o.cfg.Plugins[c.Type]
	if kind == "sink" && c.Type == "haproxy" && !found {
		self, err := os.Executable()
		if err != nil {
			return options, fmt.Errorf("cannot find the program to run the plugin with: %w", err)
		}
		options.Path, options.Args = self, []string{"plugin", "haproxy"}
		return options, nil
	}
	path, err := host.Find(kind, c.Type, configured.Path, o.cfg.PluginDir)
	if err != nil {
		return options, err
	}
	options.Path, options.SHA256, options.Args = path, configured.SHA256, configured.Args
	for _, name := range sortedKeys(configured.Env) {
		options.Env = append(options.Env, name+"="+configured.Env[name])
	}
	return options, nil
}

// open decodes the block over its owner's defaults and hands it over.
func open[C, T any](env sdk.Env, c config.Component, cfg C, construct func(sdk.Env, C) (T, error)) (T, error) {
	if err := sdk.Decode(c.Block, &cfg); err != nil {
		var none T
		return none, err
	}
	return construct(env, cfg)
}

// place puts the table in front of what its owner found wrong with it, each fault on a line of its own. The shorthand's
// tables are named as the person wrote them.
func place(table, name string, err error) error {
	if err == nil {
		return nil
	}
	at := table + "." + name
	if name == shorthandSource || name == shorthandSink {
		at = name
	}
	faults, ok := errors.AsType[sdk.Faults](err)
	if !ok {
		return fmt.Errorf("%s: %w", at, err)
	}
	var all error
	for _, f := range faults {
		if f.Key != "" {
			f.Key = at + "." + f.Key
			all = errors.Join(all, &usageError{errors.New(f.String())})
			continue
		}
		all = errors.Join(all, &usageError{fmt.Errorf("%s: %s", at, f.Problem)})
	}
	return all
}

// templateSet is a templates.Set as the engine wants one.
type templateSet struct{ *templates.Set }

func (s templateSet) Load() (engine.Template, error) {
	t, err := s.Set.Load()
	if err != nil {
		return nil, err
	}
	return tracedTemplate{t}, nil
}

// tracedTemplate is a templates.Template as the engine wants one.
type tracedTemplate struct{ *templates.Template }

func (t tracedTemplate) SourceMap(ctx context.Context, snap sdk.Snapshot) ([][]exclude.Origin, error) {
	_, origins, err := t.Template.SourceMap(ctx, snap)
	var all [][]exclude.Origin
	for _, file := range origins {
		var lines []exclude.Origin
		for _, o := range file {
			lines = append(lines, exclude.Origin(o))
		}
		all = append(all, lines)
	}
	return all, err
}

func (t tracedTemplate) NondeterministicLines(ctx context.Context, snap sdk.Snapshot) ([]string, error) {
	varying, err := t.Template.NondeterministicLines(ctx, snap)
	var all []string
	for _, v := range varying {
		all = append(all, v.String())
	}
	return all, err
}

var (
	_ exclude.SourceMapper          = tracedTemplate{}
	_ engine.NondeterminismReporter = tracedTemplate{}
)

func newTemplates(p config.Pipeline) engine.Templates {
	return templateSet{templates.New(templateConfig(p))}
}

func templateConfig(p config.Pipeline) templates.Config {
	set := templates.Config{
		Path: p.Template, Files: p.Files, Partials: p.Partials, Vars: p.Vars,
		BindIP: p.BindIP, UseHostnames: p.UseHostnames, User: p.User, Group: p.Group,
	}
	if len(p.Delims) == len(set.Delims) {
		set.Delims = [2]string(p.Delims)
	}
	return set
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
