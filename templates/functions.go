package templates

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"text/template"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/rendercache"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// library returns the functions that do not depend on the execution: those of sprig and those of text/template that need a bound.
// [execution.functions] replaces the nondeterministic ones. The table is made once and must not be changed.
var library = sync.OnceValue(func() template.FuncMap {
	fns := sprig.TxtFuncMap()
	checks := argumentChecks(fns)
	maps.Copy(fns, template.FuncMap{
		"print": fmt.Sprint, "printf": fmt.Sprintf, "println": fmt.Sprintln,
		"fail":   func(sentence string) (string, error) { return "", failf("%s", sentence) },
		"keys":   sortedKeys, // sprig's are in random order
		"values": sortedValues,
	})
	for name, fn := range fns {
		if checks[name] != nil || !isNondeterministic(name) {
			fns[name] = bounded(name, fn, checks[name])
		}
	}
	return fns
})

// emptySet returns a set without templates that knows all functions by name. It is made once and only cloned.
var emptySet = sync.OnceValue(func() *template.Template {
	return template.New("").Funcs(library()).Funcs((&execution{}).functions())
})

// newSet returns a set without templates, to parse templates with.
func newSet(cfg Config) *template.Template {
	return template.Must(emptySet().Clone()).Delims(cfg.Delims[0], cfg.Delims[1])
}

// functions returns the functions that depend on the execution. [Functions] documents those that templates may call.
func (x *execution) functions() template.FuncMap {
	durationRound := library()["durationRound"].(func(any) string)
	fns := template.FuncMap{
		"getMode":      func(service string) string { return x.mode(x.dependOn(service)) },
		"getPorts":     func(service string) map[string]string { return x.ports(x.dependOn(service)) },
		"ownsPort":     func(service string, port any) (bool, error) { return x.ownsPort(x.dependOn(service), port) },
		"portFor":      x.portFor,
		"ipFor":        x.ipFor,
		"bindIP":       func() string { return x.t.cfg.BindIP },
		"sanitizeName": func(name string) string { return x.sanitizeName(x.dependOn(name)) },
		"serverName": func(instance any) (string, error) {
			inst, err := toInstance(instance)
			if err != nil {
				return "", err
			}
			x.dependOn(inst.Name)
			return x.serverName(inst), nil
		},
		// A copy, since a time has methods that modify it, and the snapshot is shared.
		"allInstances": func(service string) []sdk.Instance { return slices.Clone(x.all[x.dependOn(service)]) },
		"source":       x.source,
		"include":      x.include,

		"now":           func() time.Time { return x.clock("now") },
		"ago":           x.ago,
		"durationRound": func(v any) string { return durationRound(x.sinceThen(v)) },
		"getHostByName": x.hostByName,
	}
	for _, name := range randomFunctions {
		fns[name] = x.repeatable(name, library()[name])
	}
	maps.Copy(fns, x.hooks())
	maps.Copy(fns, x.attemptHooks())
	return fns
}

// hooks returns the functions that only instrumented templates call.
func (x *execution) hooks() template.FuncMap {
	return template.FuncMap{
		hookDescend: x.descend, hookAscend: x.ascend,

		rendercache.FuncBegin:    x.beginIteration,
		rendercache.FuncEnd:      x.endIteration,
		rendercache.FuncAssigned: func(number int) any { return x.replayed[number] },

		sourcemap.FuncEnter: func() string { return x.recorder.EnterRange() },
		sourcemap.FuncLeave: func() string { return x.recorder.LeaveRange() },
		sourcemap.FuncNode:  func(number int) string { return x.recorder.Node(number) },
		sourcemap.FuncIterate: func(element any) (string, error) {
			x.recorder.Iterate(element)
			return "", x.exceeded()
		},
		sourcemap.FuncPrint: func(value any) (any, error) {
			if value == nil {
				return nil, errNoValue
			}
			return value, x.exceeded()
		},
	}
}

// source is the function of that name. A pipeline has one source, so the name can only confirm it.
func (x *execution) source(name string) (map[string][]sdk.Instance, error) {
	if name != x.snap.Source {
		return nil, failf("this pipeline has no source %q; its source is %q", name, x.snap.Source)
	}
	return x.usable, nil
}

// sortedKeys accepts any map with strings as keys, such as the result of getPorts. sprig's function accepts one type of map.
func sortedKeys(dicts ...any) ([]string, error) {
	names := []string{}
	for _, d := range dicts {
		m := reflect.ValueOf(d)
		if m.Kind() != reflect.Map || m.Type().Key().Kind() != reflect.String {
			return nil, failf("a map with strings as keys is expected here, and this is a %T", d)
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

// sortedValues returns the values of a map in the order of its keys.
func sortedValues(dict any) ([]any, error) {
	found := []any{}
	keys, err := sortedKeys(dict)
	for _, key := range keys {
		m := reflect.ValueOf(dict)
		found = append(found, m.MapIndex(reflect.ValueOf(key).Convert(m.Type().Key())).Interface())
	}
	return found, err
}
