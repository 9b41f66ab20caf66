package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// EnvFile is the environment variable that names the configuration file. It is for the caller of [Load], who has to
// know the file first.
const EnvFile = "HAPROXY_API_CONFIG_FILE"

// EnvAddress is the environment variable that says where the running daemon answers, for the commands that ask it.
const EnvAddress = "HAPROXY_API_ADDRESS"

const (
	envPrefix   = "HAPROXY_API_"
	olderPrefix = "HAPROXYAPI_"
	envPlugin   = "HAPROXY_API_PLUGIN" // by it a program knows that it was started as a plugin; what it starts inherits it
)

// How much a name of a key counts when several are set: a higher one wins.
const (
	rankOlder   = iota // the older haproxy-api's names
	rankShort          // HAPROXY_API_ + KEY, for the table haproxy_api
	rankPlain          // HAPROXY_API_ + TABLE_KEY
	rankGeneric        // HAPROXY_API_ + the path with "__" for its dots
)

// A variable is a set environment variable that stands for a key.
type variable struct {
	name string
	at   path
	rank int
}

// environment adds the layer of the environment, whose names the package's documentation explains.
func (l *loader) environment(environ []string) {
	set := koanf.New("")
	// A provider of strings that are there has no way to fail.
	_ = set.Load(env.Provider("", env.Opt{Prefix: "HAPROXY", EnvironFunc: func() []string { return environ }}), nil)

	root := (&Config{}).schema()
	tree := map[string]any{}
	origins := map[string]string{}
	for _, v := range l.variables(set, root) {
		value := set.String(v.name)
		origins[v.at.key()] = "environment " + v.name
		put(tree, v.at, kindAt(root, v.at).fromText(value))
	}
	if len(tree) > 0 {
		l.addTree(tree, func(at path) string { return longest(origins, at) })
	}
}

// variables returns those of ours that are set, in the order in which they have to be stored.
func (l *loader) variables(set *koanf.Koanf, root table) []variable {
	var found []variable
	plain := plainNames(root)
	file := l.merged().Raw()
	for _, name := range set.Keys() {
		if set.String(name) == "" || slices.Contains([]string{EnvFile, EnvAddress, envPlugin}, name) {
			continue
		}
		if known, ok := plain[name]; ok {
			found = append(found, known)
		} else if generic(name) {
			parts := strings.Split(strings.TrimPrefix(name, envPrefix), "__")
			found = append(found, variable{name, spelled(parts, root, file), rankGeneric})
		} else if ours(name) && !injected(name, set.String(name)) {
			l.unknownVariable(name, plain)
		}
	}
	// A table that is given whole comes before its parts, which change it.
	slices.SortFunc(found, func(a, b variable) int {
		return cmp.Or(cmp.Compare(len(a.at), len(b.at)), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	return found
}

// olderNames are the older haproxy-api's names of keys.
func olderNames() map[string]path {
	names := map[string]path{
		"HAPROXY_API_FOLLOW":       {"sidecar", "follow"},
		"HAPROXYAPI_LOGGING_LEVEL": {"haproxy_api", "logging_level"},
	}
	for _, key := range []string{"bind_ip", "bind_port", "logging_level"} {
		names["HAPROXY_API_HAPROXY_API_"+strings.ToUpper(key)] = path{"haproxy_api", key}
	}
	names["HAPROXY_API_SIDECAR_STATE_URL"] = path{"sidecar", "state_url"}
	for _, key := range []string{
		"bind_ip", "reload_cmd", "verify_cmd", "template", "config_file", "pid_file", "user", "group", "use_hostnames",
	} {
		names["HAPROXY_API_HAPROXY_"+strings.ToUpper(strings.ReplaceAll(key, "_", ""))] = path{"haproxy", key}
	}
	return names
}

// plainNames returns every name that stands for one fixed key.
func plainNames(root table) map[string]variable {
	names := map[string]variable{}
	for name, at := range olderNames() {
		names[name] = variable{name, at, rankOlder}
	}
	for _, at := range root.knownPaths(nil) {
		// Keys like sources, which hold names, are only reached by the general form.
		if len(at) == 2 {
			if short := envPrefix + strings.ToUpper(at[1]); at[0] == "haproxy_api" {
				names[short] = variable{short, at, rankShort}
			}
			name := envPrefix + strings.ToUpper(strings.Join(at, "_"))
			names[name] = variable{name, at, rankPlain}
		}
	}
	pluginDir := envPrefix + "PLUGIN_DIR"
	names[pluginDir] = variable{pluginDir, path{"plugin_dir"}, rankGeneric}
	return names
}

var (
	injectedName = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*(` +
		`SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$|^HAPROXY_?API_ENV_`)
	// A person may mean something by these names, so their values count too.
	injectedPort = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*PORT=(tcp|udp|sctp)://`)
	injectedLink = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*NAME=/`)
)

// injected reports whether Kubernetes or Docker set the variable, for a service or container whose name begins with haproxy-api.
func injected(name, value string) bool {
	pair := name + "=" + value
	return injectedName.MatchString(name) || injectedPort.MatchString(pair) || injectedLink.MatchString(pair)
}

func ours(name string) bool {
	return strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, olderPrefix)
}

func generic(name string) bool {
	return strings.HasPrefix(name, envPrefix) && strings.Contains(name, "__") && !injectedName.MatchString(name)
}

// unknownVariable reports a variable that somebody has set for us and that would not be heeded: it may be what keeps others out.
func (l *loader) unknownVariable(name string, plain map[string]variable) {
	known := append(slices.Sorted(maps.Keys(plain)), EnvFile, EnvAddress)
	best := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(name, a), distance(name, b)) })
	l.fail("environment "+name, "is not a known variable; the nearest known one is "+best)
}

// spelled returns the path that the parts of a general name stand for.
func spelled(parts []string, root kind, file map[string]any) path {
	var at path
	for i, part := range parts {
		kind := kindAt(root, at)
		here, _ := get(file, at)
		content, _ := here.(map[string]any)
		names := slices.Sorted(maps.Keys(content))
		switch kind := kind.(type) {
		case table:
			names = append(names, kind.names()...)
		case texts:
			return at.with(spelling(kind.fromEnv(parts[i:]), names))
		}
		at = at.with(spelling(strings.ToLower(part), names))
	}
	return at
}

// spelling returns usual, unless there is no such name but one that only looks different.
func spelling(usual string, names []string) string {
	if slices.Contains(names, usual) {
		return usual
	}
	if i := slices.IndexFunc(names, func(name string) bool { return fold(name) == fold(usual) }); i >= 0 {
		return names[i]
	}
	return usual
}

// kindAt returns the kind of what stands at that path; what is not known may be anything, until it is read and refused.
func kindAt(root kind, at path) kind {
	here := root
	for _, name := range at {
		if here = here.below(name); here == nil {
			return anything{fromTextOr: asIs}
		}
	}
	return here
}

// longest returns the origin recorded for at, or else for the nearest table around it or key within it.
func longest(origins map[string]string, at path) string {
	for end := len(at); end > 0; end-- {
		if origin, ok := origins[at[:end].key()]; ok {
			return origin
		}
	}
	for _, key := range slices.Sorted(maps.Keys(origins)) {
		if strings.HasPrefix(key, at.key()+delimiter) {
			return origins[key]
		}
	}
	return "environment"
}
