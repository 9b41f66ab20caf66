package daemon

import (
	"maps"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// metricComponents returns the names that the configurations together give to what has metrics.
func metricComponents(cfgs ...*config.Config) server.Components {
	pipelines, sources, plugins := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, cfg := range cfgs {
		for name := range cfg.Pipelines {
			pipelines[name] = true
		}
		for name, source := range cfg.Sources {
			sources[name] = true
			if !isBuiltIn("source", source.Type) {
				plugins[name] = true
			}
		}
		for name, sink := range cfg.Sinks {
			if !isBuiltIn("sink", sink.Type) {
				plugins[name] = true
			}
		}
	}
	sorted := func(names map[string]bool) []string { return slices.Sorted(maps.Keys(names)) }
	return server.Components{Pipelines: sorted(pipelines), Sources: sorted(sources), Plugins: sorted(plugins)}
}
