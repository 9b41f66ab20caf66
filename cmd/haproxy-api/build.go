package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// parts are what a configuration was made into.
type parts struct {
	cfg       *config.Config
	templates map[string]engine.Templates
	inputs    map[string]engine.Inputs // of the pipelines that watch any
	sources   map[string]sdk.Source
	sinks     map[string]sdk.Sink
}

// build makes the parts that o's configuration describes. Those of before whose configuration is the same are taken as they are;
// before may have none. What went wrong is reported in one go, and nothing that was opened is left then.
func (o opener) build(ctx context.Context, before *parts) (*parts, error) {
	next := &parts{cfg: o.cfg}
	var faults error
	// A template set that does not load is the person's to mend before anything starts.
	if next.templates, faults = o.loadTemplates(before); faults != nil {
		return nil, faults
	}
	next.inputs = o.inputs(before)
	if faults = makeFolders(o.cfg); faults != nil {
		return nil, faults
	}
	var err error
	next.sources, err = o.sources(ctx, o.standing(before).sources)
	faults = errors.Join(faults, err)
	next.sinks, err = o.sinks(ctx, o.standing(before).sinks)
	if faults = errors.Join(faults, err); faults != nil {
		next.closeBut(before)
		return nil, faults
	}
	return next, nil
}

// closeBut lets go of all that other does not have as well.
func (p *parts) closeBut(other *parts) {
	closeAll(but(p.sources, other.sources))
	closeAll(but(p.sinks, other.sinks))
}

// standing returns the sources and sinks of before whose configuration is the same.
func (o opener) standing(before *parts) *parts {
	was := opener{cfg: before.cfg}
	p := &parts{sources: map[string]sdk.Source{}, sinks: map[string]sdk.Sink{}}
	for name, source := range before.sources {
		c, stays := o.cfg.Sources[name]
		if stays && o.recipe("source", c.Component).equal(was.recipe("source", before.cfg.Sources[name].Component)) {
			p.sources[name] = source
		}
	}
	for name, sink := range before.sinks {
		c, stays := o.cfg.Sinks[name]
		if stays && o.recipe("sink", c).equal(was.recipe("sink", before.cfg.Sinks[name])) {
			p.sinks[name] = sink
		}
	}
	return p
}

// A recipe is all that a source or a sink is made of.
type recipe struct {
	component    config.Component
	path, sha256 string // of the plugin; empty where there is none
	args, env    []string
}

func (r recipe) equal(other recipe) bool { return reflect.DeepEqual(r, other) }

func (o opener) recipe(kind string, c config.Component) recipe {
	r := recipe{component: c}
	if !isBuiltIn(kind, c.Type) {
		options, _ := o.plugin(kind, sdk.Env{Log: slog.New(slog.DiscardHandler)}, c) // what is wrong shows when it is opened
		r.path, r.sha256, r.args, r.env = options.Path, options.SHA256, options.Args, options.Env
	}
	return r
}

// loadTemplates makes the template sets, and sees to it that those which are new load.
func (o opener) loadTemplates(before *parts) (map[string]engine.Templates, error) {
	sets := map[string]engine.Templates{}
	var faults error
	for _, name := range sortedKeys(o.cfg.Pipelines) {
		if set, ok := before.templates[name]; ok &&
			reflect.DeepEqual(templateConfig(before.cfg.Pipelines[name]), templateConfig(o.cfg.Pipelines[name])) {
			sets[name] = set
			continue
		}
		sets[name] = newTemplates(o.cfg.Pipelines[name])
		if _, err := sets[name].Load(); err != nil && !o.outlasts(name) {
			faults = errors.Join(faults, &usageError{err})
		}
	}
	return sets, faults
}

// outlasts reports whether the engine can start the pipeline without a template that loads: see [engine.New].
func (o opener) outlasts(pipeline string) bool {
	if o.kept == nil {
		return false
	}
	was, kept := o.kept.AppliedDocument(pipeline)
	return kept && was.SinkType == o.cfg.Sinks[o.cfg.Pipelines[pipeline].Sink].Type
}

// engine is what the engine is to run.
func (p *parts) engine(log *slog.Logger, observer engine.Observer) engine.Config {
	cfg := engine.Config{Sources: map[string]engine.SourceConfig{}, Log: log, Observer: observer}
	if address, err := netip.ParseAddr(p.cfg.API.BindIP); err == nil && p.cfg.API.BindPort > 0 {
		cfg.Listening = []netip.AddrPort{netip.AddrPortFrom(address, uint16(p.cfg.API.BindPort))} //nolint:gosec // a port
	}
	for name, source := range p.sources {
		cfg.Sources[name] = engine.SourceConfig{Source: source, Guard: engine.Guard(p.cfg.Sources[name].Guard)}
	}
	for _, name := range sortedKeys(p.cfg.Pipelines) {
		c := p.cfg.Pipelines[name]
		cfg.Pipelines = append(cfg.Pipelines, engine.PipelineConfig{
			Name: name, Source: c.Source, Templates: p.templates[name],
			Sink: p.sinks[c.Sink], SinkType: p.cfg.Sinks[c.Sink].Type, Inputs: p.inputs[name],
			Conflicts: conflictsFor(p.cfg.Sinks[c.Sink].Type),
		})
	}
	return cfg
}

// conflictsFor returns what finds conflicts in documents for sinks of that type; nil for a type whose documents we cannot read.
func conflictsFor(sinkType string) func([]sdk.File) [][2]sdk.Position {
	if sinkType == "haproxy" {
		return haproxy.Conflicts
	}
	return nil
}
