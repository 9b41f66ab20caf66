package templates

import (
	"maps"
	"reflect"
	"slices"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// functions returns all functions for one run, but for those that text/template alone has. [Functions] is what people read
// about them.
func (r *run) functions() template.FuncMap {
	fns := r.borrowed()
	maps.Copy(fns, r.own())
	maps.Copy(fns, r.hooks())
	return fns
}

// borrowed returns those of sprig, and those of text/template and sprig that have to be watched.
func (r *run) borrowed() template.FuncMap {
	fns := sprig.TxtFuncMap()
	durationRound := fns["durationRound"].(func(any) string)
	maps.Copy(fns, sized(fns))
	maps.Copy(fns, printers)
	maps.Copy(fns, template.FuncMap{
		"now":           func() time.Time { return r.clock("now") },
		"ago":           r.ago,
		"durationRound": func(v any) string { return durationRound(r.sinceThen(v)) },
		"getHostByName": r.hostByName,
		"fail":          func(sentence string) (string, error) { return "", failf("%s", sentence) },
		"keys":          sortedKeys, // else in a random order
		"values":        sortedValues,
	})
	return fns
}

func (r *run) own() template.FuncMap {
	return template.FuncMap{
		"getMode":      func(service string) string { return r.mode(r.about(service)) },
		"getPorts":     func(service string) map[string]string { return r.ports(r.about(service)) },
		"ownsPort":     func(service string, port any) (bool, error) { return r.ownsPort(r.about(service), port) },
		"portFor":      r.portFor,
		"ipFor":        r.ipFor,
		"bindIP":       func() string { return r.cfg.BindIP },
		"sanitizeName": func(name string) string { return r.sanitizeName(r.about(name)) },
		"serverName": func(instance any) (string, error) {
			inst, err := toInstance(instance)
			if err != nil {
				return "", err
			}
			r.about(inst.Name)
			return r.serverName(inst), nil
		},
		// A copy, since a time has methods that change it, and others have the snapshot too.
		"allInstances": func(service string) []sdk.Instance { return slices.Clone(r.all[r.about(service)]) },
		"source":       r.source,
		"include":      r.include,
	}
}

// bind returns the functions that are called, as templates call them in this run.
func (r *run) bind(calls map[string]bool) template.FuncMap {
	fns := template.FuncMap{}
	for name, fn := range r.borrowed() {
		switch {
		case !calls[name]:
		case isByChance(name):
			fns[name] = r.keeping(name, fn)
		default:
			fns[name] = bounded(name, fn)
		}
	}
	maps.Copy(fns, r.own())
	maps.Copy(fns, r.hooks())
	return fns
}

// sanitizeName works for names that are not a service's, too; those may then become what another name becomes.
func (v *view) sanitizeName(name string) string {
	if clean, ok := v.clean[name]; ok {
		return clean
	}
	return cleanName(name)
}

// source is there for templates that say which catalogue they mean. A pipeline has one.
func (r *run) source(name string) (map[string][]sdk.Instance, error) {
	if name != r.snap.Source {
		return nil, failf("this pipeline has no source %q; its source is %q", name, r.snap.Source)
	}
	return r.live, nil
}

// sortedKeys takes any map with strings for keys, as getPorts returns one, where sprig's takes only one kind.
func sortedKeys(dicts ...any) ([]string, error) {
	names := []string{}
	for _, d := range dicts {
		m, err := toMap(d)
		if err != nil {
			return nil, err
		}
		own := []string{}
		for _, key := range m.MapKeys() {
			own = append(own, key.String())
		}
		slices.Sort(own)
		names = append(names, own...)
	}
	return names, nil
}

func sortedValues(dict any) ([]any, error) {
	found := []any{}
	keys, err := sortedKeys(dict)
	for _, key := range keys {
		m := reflect.ValueOf(dict)
		found = append(found, m.MapIndex(reflect.ValueOf(key).Convert(m.Type().Key())).Interface())
	}
	return found, err
}

func toMap(dict any) (reflect.Value, error) {
	m := reflect.ValueOf(dict)
	if m.Kind() != reflect.Map || m.Type().Key().Kind() != reflect.String {
		return m, failf("wanted is a map with names for keys, and this is a %T", dict)
	}
	return m, nil
}

// hooks returns the functions that only we call.
func (r *run) hooks() template.FuncMap {
	return template.FuncMap{
		hookDescend: r.descend, hookAscend: r.ascend,
		hookStale: r.stale, hookKeep: r.keep, hookKept: r.again,
		hookEnter: func() string { return r.trace.enter() },
		hookLeave: func() string { return r.trace.leave() },
		hookMark:  func(number int) string { return r.trace.mark(number) },

		hookAttempt: r.attempt, hookOuter: r.outer, hookDot: r.dot, hookFinals: r.finals,
		hookAt: func(element any) (string, error) {
			r.trace.at(element)
			return "", r.exceeded()
		},
		hookShown: func(value any) (any, error) {
			if value == nil {
				return nil, errNoValue
			}
			return value, r.exceeded()
		},
	}
}
