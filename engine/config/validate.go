package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
)

// validate reports faults that concern several keys. Faults of single values were reported when their layers were added.
func (c *Config) validate(l *loader) {
	c.API.validate(l)
	for _, table := range []string{"sources", "sinks"} {
		for _, name := range l.names(table) {
			validateType(l, path{table, name})
		}
	}
	c.validatePipelines(l)
	c.warnUnused()
}

func (a *API) validate(l *loader) {
	cert, key, ca := path{"haproxy_api", "tls_cert"}, path{"haproxy_api", "tls_key"}, path{"haproxy_api", "client_ca"}
	switch {
	case a.TLSCert != "" && a.TLSKey == "":
		l.addFaultAt(cert, "is set without "+key.String())
	case a.TLSKey != "" && a.TLSCert == "":
		l.addFaultAt(key, "is set without "+cert.String())
	case a.ClientCA != "" && a.TLSCert == "":
		l.addFaultAt(ca, "is set without "+cert.String()+" and "+key.String())
	}
	if a.ProtectReads && a.UpdateToken == "" && a.ClientCA == "" {
		l.addFaultAt(path{"haproxy_api", "protect_reads"},
			"needs haproxy_api.update_token or haproxy_api.client_ca; otherwise nobody could read")
	}
}

// validateType reports a source or a sink without a type. It uses the given value and not the decoded one, so that an invalid
// type is reported only once.
func validateType(l *loader, at path) {
	if given, _ := get(l.given, at); isTable(given) && !l.sets(at.with("type")...) {
		l.addMissing(at, `needs a type, such as "file"`)
	}
}

func isTable(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func (c *Config) validatePipelines(l *loader) {
	for _, name := range l.names("pipelines") {
		if given, _ := get(l.given, path{"pipelines", name}); isTable(given) && isValidName(name) {
			validateReference(l, path{"pipelines", name, "source"}, c.Sources, "sources")
			validateReference(l, path{"pipelines", name, "sink"}, c.Sinks, "sinks")
		}
	}
	users := map[string]string{} // by sink
	if _, short := c.Pipelines[shorthandPipeline]; short && !l.sets("pipelines", shorthandPipeline) {
		users[ShorthandSink] = "the table haproxy"
	}
	for _, name := range l.names("pipelines") {
		at, sink := path{"pipelines", name}, c.Pipelines[name].Sink
		if other, used := users[sink]; used && sink != "" {
			l.addFaultAt(at.with("sink"), fmt.Sprintf(
				"is %q, which %s already uses; two pipelines would overwrite each other's documents", sink, other))
		}
		users[sink] = at.String()
	}
}

// validateReference reports a reference of a pipeline to a source or a sink that is not defined, validly or not.
func validateReference[T any](l *loader, at path, defined map[string]T, table string) {
	given, _ := get(l.given, at)
	switch name := given.(type) {
	case nil:
		l.addMissing(at[:2], "needs a "+at[2])
	case string:
		if _, ok := defined[name]; ok || l.sets(table, name) {
			return
		}
		problem := "is " + strconv.Quote(name) + ", which is not one of the " + table
		if best, _ := suggest.Nearest(name, slices.Collect(maps.Keys(defined))); best != "" {
			problem += "; did you mean " + strconv.Quote(best) + "?"
		}
		l.addFaultAt(at, problem)
	default:
		// Any other type was reported.
	}
}

// warnUnused adds a warning for each source and sink that no pipeline uses.
func (c *Config) warnUnused() {
	sources, sinks := map[string]bool{}, map[string]bool{}
	for _, p := range c.Pipelines {
		sources[p.Source], sinks[p.Sink] = true, true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sources)) {
		if !sources[name] {
			c.Warnings = append(c.Warnings, path{"sources", name}.String()+" is not used by any pipeline")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		if !sinks[name] {
			c.Warnings = append(c.Warnings, path{"sinks", name}.String()+" is not used by any pipeline")
		}
	}
}
