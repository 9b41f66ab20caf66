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

// Functions returns the names of all functions that templates may call beside those of text/template, sorted: sprig's
// and the following, which win over sprig's of the same name.
//
//	now                     the time of this rendering, UTC
//	getMode NAME            "http" or "tcp", by majority of the service's instances; "ws" counts as "http"
//	getPorts NAME           map of ServicePort to Port, as strings: what the service offers over TCP
//	ownsPort NAME SVCPORT   whether no other service has the better claim to that ServicePort
//	portFor SVCPORT INST    the instance's own port for that ServicePort; fails the rendering where there is none
//	ipFor SVCPORT INST      its address for it, bare even where it is an IPv6 one; the hostname with use_hostnames
//	bindIP                  the configured address to listen on
//	sanitizeName NAME       NAME for a section; services with different names get different ones
//	serverName INST         HOSTNAME-ID for a server line; instances of one service get different ones
//	allInstances NAME       the service's instances in any state, sorted as in .Services
//	source NAME             the services of the source with that name; fails where this pipeline has another source
//	include NAME DATA       what the named template renders for DATA, as a string
//	fail SENTENCE           gives up, with that sentence
//	keys MAP…, values MAP   as sprig's, but in the order of the keys instead of a random one
func Functions() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys((&run{}).functions())), func(name string) bool {
		return name[0] == '_'
	})
}

func (r *run) functions() template.FuncMap {
	fns := sprig.TxtFuncMap()
	maps.Copy(fns, template.FuncMap{
		"now":          r.now,
		"getMode":      func(service string) string { return r.mode(service) },
		"getPorts":     func(service string) map[string]string { return r.ports(service) },
		"ownsPort":     func(service string, port any) (bool, error) { return r.ownsPort(service, port) },
		"portFor":      r.portFor,
		"ipFor":        r.ipFor,
		"bindIP":       func() string { return r.cfg.BindIP },
		"sanitizeName": r.sanitizeName,
		"serverName": func(instance any) (string, error) {
			inst, err := toInstance(instance)
			if err != nil {
				return "", err
			}
			return r.serverName(inst), nil
		},
		"allInstances": func(service string) []sdk.Instance { return r.all[service] },
		"source":       r.source,
		"include":      r.include,
		"fail":         func(sentence string) (string, error) { return "", failf("%s", sentence) },
		"keys":         sortedKeys,
		"values":       sortedValues,
		hookDescend:    r.descend,
		hookAscend:     r.ascend,
	})
	maps.Copy(fns, r.hooks())
	return fns
}

func (r *run) now() time.Time { return r.at }

// sanitizeName works for names that are not a service's, too; those may then become what another name becomes.
func (r *run) sanitizeName(name string) string {
	if clean, ok := r.clean[name]; ok {
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

// hooks returns the functions that only a traced set calls.
func (r *run) hooks() template.FuncMap {
	return template.FuncMap{
		hookEnter: func() string { return r.trace.enter() },
		hookLeave: func() string { return r.trace.leave() },
		hookMark:  func(number int) string { return r.trace.mark(number) },
		hookAt: func(element any) (string, error) {
			r.trace.at(element)
			return "", r.tooLong()
		},
		hookShown: func(value any) (any, error) {
			if value == nil {
				return nil, errNoValue
			}
			return value, r.tooLong()
		},
	}
}
