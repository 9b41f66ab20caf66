package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// check reports what is wrong between keys.
func (c *Config) check(l *loader) {
	c.API.check(l)
	for _, table := range []string{"sources", "sinks"} {
		for _, name := range l.names(table) {
			checkType(l, path{table, name})
		}
	}
	c.checkPipelines(l)
	c.warnUnused()
}

func (a *API) check(l *loader) {
	cert, key, ca := path{"haproxy_api", "tls_cert"}, path{"haproxy_api", "tls_key"}, path{"haproxy_api", "client_ca"}
	switch {
	case a.TLSCert != "" && a.TLSKey == "":
		l.failAt(cert, "is given without "+key.String())
	case a.TLSKey != "" && a.TLSCert == "":
		l.failAt(key, "is given without "+cert.String())
	case a.ClientCA != "" && a.TLSCert == "":
		l.failAt(ca, "is given without "+cert.String()+" and "+key.String())
	}
	if a.ProtectReads && a.UpdateToken == "" && a.ClientCA == "" {
		l.failAt(path{"haproxy_api", "protect_reads"},
			"needs haproxy_api.update_token or haproxy_api.client_ca, or nobody could read")
	}
}

// checkType looks at what was given rather than at what could be read of it, so that a fault is not followed by
// another.
func checkType(l *loader, at path) {
	if given, _ := get(l.given, at); isTable(given) && !l.says(at.with("type")...) {
		l.lacks(at, `needs a type, such as "file"`)
	}
}

func isTable(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func (c *Config) checkPipelines(l *loader) {
	for _, name := range l.names("pipelines") {
		if given, _ := get(l.given, path{"pipelines", name}); isTable(given) && usableName(name) {
			checkReference(l, path{"pipelines", name, "source"}, c.Sources, "sources")
			checkReference(l, path{"pipelines", name, "sink"}, c.Sinks, "sinks")
		}
	}
	fedBy := map[string]string{}
	if _, short := c.Pipelines[shortPipeline]; short && !l.says("pipelines", shortPipeline) {
		fedBy[shortSink] = "the table haproxy"
	}
	for _, name := range l.names("pipelines") {
		at, sink := path{"pipelines", name}, c.Pipelines[name].Sink
		if other, taken := fedBy[sink]; taken && sink != "" {
			l.failAt(at.with("sink"), fmt.Sprintf(
				"names %q, which %s feeds already; two pipelines would overwrite each other's documents", sink, other))
		}
		fedBy[sink] = at.String()
	}
}

// checkReference makes sure that a pipeline names something that exists in that table, readable or not.
func checkReference[T any](l *loader, at path, defined map[string]T, table string) {
	given, _ := get(l.given, at)
	switch name := given.(type) {
	case nil:
		l.lacks(at[:2], "needs a "+at[2])
	case string:
		if _, ok := defined[name]; ok || l.says(table, name) {
			return
		}
		problem := "names " + strconv.Quote(name) + ", which is not among the " + table
		if best := nearest(name, slices.Collect(maps.Keys(defined))); best != "" {
			problem += "; did you mean " + strconv.Quote(best) + "?"
		}
		l.failAt(at, problem)
	default:
		// Anything else is reported as not a text.
	}
}

// warnUnused names sources and sinks that no pipeline has a use for.
func (c *Config) warnUnused() {
	sources, sinks := map[string]bool{}, map[string]bool{}
	for _, p := range c.Pipelines {
		sources[p.Source], sinks[p.Sink] = true, true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		if !sources[name] {
			c.Warnings = append(c.Warnings, path{"sources", name}.String()+" feeds no pipeline")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		if !sinks[name] {
			c.Warnings = append(c.Warnings, path{"sinks", name}.String()+" is fed by no pipeline")
		}
	}
}
