package daemon

import (
	"io"
	"net/netip"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

// components are what a builder makes of a configuration, by their names in it.
type components struct {
	cfg       *config.Config
	templates map[string]engine.Templates // by pipeline
	inputs    map[string]engine.Inputs    // by pipeline; only pipelines that watch files have inputs
	sources   map[string]sdk.Source
	sinks     map[string]sdk.Sink
}

// kept returns the components that d keeps. They have no configuration.
func (c *components) kept(d diff) *components {
	return &components{
		templates: pick(c.templates, d.templates.kept), inputs: pick(c.inputs, d.inputs.kept),
		sources: pick(c.sources, d.sources.kept), sinks: pick(c.sinks, d.sinks.kept),
	}
}

// added returns the sources and sinks that d adds.
func (c *components) added(d diff) *components {
	return &components{sources: pick(c.sources, d.sources.added), sinks: pick(c.sinks, d.sinks.added)}
}

// close closes all sources and sinks. It leaves what they manage, such as HAProxy, as it is.
func (c *components) close() {
	closeAll(c.sources)
	closeAll(c.sinks)
}

func closeAll[T any](components map[string]T) {
	_ = parallel(components, func(_ string, component T) error {
		if c, ok := any(component).(io.Closer); ok {
			_ = c.Close()
		}
		return nil
	})
}

// pick returns the entries of m with these names.
func pick[T any](m map[string]T, names []string) map[string]T {
	picked := map[string]T{}
	for _, name := range names {
		if v, ok := m[name]; ok {
			picked[name] = v
		}
	}
	return picked
}

// engineConfig returns the engine's configuration for c.
func (d *Daemon) engineConfig(c *components) engine.Config {
	cfg := c.engineConfig()
	cfg.Log, cfg.Observer, cfg.Tracer = d.log, engine.Observers{d.metrics, d.events, d.series, d.tracer}, d.tracer
	return cfg
}

// engineConfig returns the part of the engine's configuration that these components are.
func (c *components) engineConfig() engine.Config {
	cfg := engine.Config{Sources: map[string]engine.SourceConfig{}}
	if address, err := netip.ParseAddr(c.cfg.API.BindIP); err == nil && c.cfg.API.BindPort > 0 {
		cfg.Listening = []netip.AddrPort{netip.AddrPortFrom(address, uint16(c.cfg.API.BindPort))} //nolint:gosec // a port
	}
	for name, source := range c.sources {
		configured := c.cfg.Sources[name]
		cfg.Sources[name] = engine.SourceConfig{Source: source, Type: configured.Type, Guard: engine.Guard(configured.Guard)}
	}
	for _, name := range sortedKeys(c.cfg.Pipelines) {
		p := c.cfg.Pipelines[name]
		sinkType := c.cfg.Sinks[p.Sink].Type
		pipeline := engine.PipelineConfig{
			Name: name, Source: p.Source, Templates: c.templates[name], Paths: templatePaths(p),
			Sink: c.sinks[p.Sink], SinkName: p.Sink, SinkType: sinkType, Inputs: c.inputs[name],
		}
		if sinkType == typeHAProxy { // documents of other types cannot be analysed
			pipeline.Conflicts = haproxy.Conflicts
		}
		cfg.Pipelines = append(cfg.Pipelines, pipeline)
	}
	return cfg
}
