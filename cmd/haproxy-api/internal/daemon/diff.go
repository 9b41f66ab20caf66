package daemon

import (
	"log/slog"
	"reflect"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A diff is everything in which a new configuration differs from the running one. A configuration reload computes it once.
type diff struct {
	sources, sinks, pipelines changes
	templates, inputs         changes  // by pipeline
	guards                    []string // kept sources whose guard changed

	address     bool     // the daemon listens at another address
	access      bool     // the access policy changed
	level       bool     // the log level changed
	tracing     bool     // tracing is enabled, changed or disabled
	needRestart []string // keys that changed and need a restart
}

// changes lists names by what a new configuration does with the components of these names. Each list is sorted. A component with
// another configuration is replaced: its name is in both removed and added.
type changes struct{ added, removed, kept []string }

// compareMaps compares two tables by name. equal is called for each name that both have.
func compareMaps[C any](before, next map[string]C, equal func(name string) bool) changes {
	var c changes
	for _, name := range sortedKeys(before) {
		if _, ok := next[name]; ok && equal(name) {
			c.kept = append(c.kept, name)
		} else {
			c.removed = append(c.removed, name)
		}
	}
	for _, name := range sortedKeys(next) {
		if !slices.Contains(c.kept, name) {
			c.added = append(c.added, name)
		}
	}
	return c
}

// replaced reports whether the component has another configuration, rather than being removed or added.
func (c changes) replaced(name string) bool {
	return slices.Contains(c.removed, name) && slices.Contains(c.added, name)
}

// describe returns a phrase for each change, sorted by name. replaced is the word for a component that is replaced.
func (c changes) describe(kind, replaced string) []string {
	words := map[string]string{}
	for _, name := range c.added {
		words[name] = "added"
	}
	for _, name := range c.removed {
		words[name] = "removed"
		if c.replaced(name) {
			words[name] = replaced
		}
	}
	var all []string
	for _, name := range sortedKeys(words) {
		all = append(all, kind+" "+name+" "+words[name])
	}
	return all
}

// diffConfigs returns the difference between two configurations.
func diffConfigs(before, next *config.Config) diff {
	was, is := builder{cfg: before}, builder{cfg: next}
	d := diff{
		sources: compareMaps(before.Sources, next.Sources, func(name string) bool {
			return was.spec("source", before.Sources[name].Component).equal(is.spec("source", next.Sources[name].Component))
		}),
		sinks: compareMaps(before.Sinks, next.Sinks, func(name string) bool {
			return was.spec("sink", before.Sinks[name]).equal(is.spec("sink", next.Sinks[name]))
		}),
		pipelines: compareMaps(before.Pipelines, next.Pipelines, func(name string) bool {
			return reflect.DeepEqual(before.Pipelines[name], next.Pipelines[name])
		}),
		templates: compareMaps(before.Pipelines, next.Pipelines, func(name string) bool {
			return reflect.DeepEqual(TemplateConfig(before.Pipelines[name]), TemplateConfig(next.Pipelines[name]))
		}),
		inputs: compareMaps(before.Pipelines, next.Pipelines, func(name string) bool {
			a, b := before.Pipelines[name], next.Pipelines[name]
			return slices.Equal(a.Watch, b.Watch) && slices.Equal(sinkFiles(before, a), sinkFiles(next, b))
		}),
		address: listenAddress(before.API) != listenAddress(next.API),
		access:  !reflect.DeepEqual(accessConfig(before.API), accessConfig(next.API)),
		level:   before.API.LoggingLevel != next.API.LoggingLevel,
		tracing: before.Tracing != next.Tracing,
	}
	for _, name := range d.sources.kept {
		if before.Sources[name].Guard != next.Sources[name].Guard {
			d.guards = append(d.guards, name)
		}
	}
	if before.API.LoggingFormat != next.API.LoggingFormat {
		d.needRestart = append(d.needRestart, "haproxy_api.logging_format")
	}
	if before.API.StateDir != next.API.StateDir {
		d.needRestart = append(d.needRestart, "haproxy_api.state_dir")
	}
	return d
}

// describe returns a phrase for each difference that takes effect without a restart, for the log.
func (d diff) describe(next config.API) []string {
	all := d.sources.describe("source", "restarted")
	for _, name := range d.guards {
		all = append(all, "guard of source "+name+" changed")
	}
	all = append(all, d.sinks.describe("sink", "restarted")...)
	all = append(all, d.pipelines.describe("pipeline", "changed")...)
	if d.address {
		all = append(all, "listens on "+listenAddress(next))
	}
	if d.access {
		all = append(all, "access policy changed")
	}
	if d.level {
		all = append(all, "log level "+next.LoggingLevel.String())
	}
	if d.tracing {
		all = append(all, "tracing changed")
	}
	return all
}

// A spec is everything that a source or a sink is built from. Components with equal specs are interchangeable.
type spec struct {
	component    config.Component
	path, sha256 string // of the plugin; empty for a type that is built in
	args, env    []string
}

func (s spec) equal(other spec) bool { return reflect.DeepEqual(s, other) }

func (b builder) spec(kind string, c config.Component) spec {
	s := spec{component: c}
	if !isBuiltIn(kind, c.Type) {
		// Opening the component reports the error.
		options, _ := b.pluginOptions(kind, sdk.Env{Log: slog.New(slog.DiscardHandler)}, c)
		s.path, s.sha256, s.args, s.env = options.Path, options.SHA256, options.Args, options.Env
	}
	return s
}

// isBuiltIn reports whether the type needs no plugin.
func isBuiltIn(kind, typ string) bool {
	return typ == typeFile || kind == "source" && (typ == typeSidecarPush || typ == typeSidecarFollow)
}
