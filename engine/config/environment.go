package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
)

// EnvFile is the environment variable that names the configuration file. It is read by the caller of [Load].
const EnvFile = "HAPROXY_API_CONFIG_FILE"

// Environment variables for the commands that query the running daemon.
const (
	EnvAddress    = "HAPROXY_API_ADDRESS"     // its address
	EnvClientCert = "HAPROXY_API_CLIENT_CERT" // the file of the certificate to present to it
	EnvClientKey  = "HAPROXY_API_CLIENT_KEY"  // the file of the key of that certificate
)

// notKeys are the environment variables with the prefix that set no key.
var notKeys = []string{EnvFile, EnvAddress, EnvClientCert, EnvClientKey, envPlugin}

const (
	envPrefix    = "HAPROXY_API_"
	legacyPrefix = "HAPROXYAPI_"
	envPlugin    = "HAPROXY_API_PLUGIN" // set by the daemon for the plugins that it starts; its own child processes inherit it
)

// Precedence among the environment variables that set the same key: higher ones win.
const (
	rankLegacy = iota // names of haproxy-api 0.9
	rankShort         // HAPROXY_API_KEY, for the table haproxy_api
	rankTable         // HAPROXY_API_TABLE_KEY
	rankPath          // HAPROXY_API_ and the path with "__" for its dots
)

// A variable is an environment variable that sets a key.
type variable struct {
	name, value string
	at          path
	rank        int
}

// loadEnvironment adds the layer of the environment. The package documentation lists the names.
func (l *loader) loadEnvironment(environ []string) {
	root := (&Config{}).schema()
	tree, origins := map[string]any{}, map[string]string{}
	for _, v := range l.variables(environ, root) {
		origins[v.at.key()] = "environment " + v.name
		put(tree, v.at, kindAt(root, v.at).parse(v.value))
	}
	l.add(tree, func(at path) string { return originOf(origins, at) })
}

// variables returns the variables that set keys, in the order in which they must be stored. It reports unknown ones.
func (l *loader) variables(environ []string, root table) []variable {
	var found []variable
	fixed := fixedNames(root)
	file := l.merged().Raw()
	values := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		if value == "" || !hasPrefix(name) || slices.Contains(notKeys, name) {
			continue
		}
		if v, ok := fixed[name]; ok {
			v.value = value
			found = append(found, v)
		} else if isPathName(name) {
			parts := strings.Split(strings.TrimPrefix(name, envPrefix), "__")
			found = append(found, variable{name, value, pathOf(parts, root, file), rankPath})
		} else if !isInjected(name, value) {
			l.unknownVariable(name, fixed)
		}
	}
	// A variable that sets a table comes before those that set keys of it.
	slices.SortFunc(found, func(a, b variable) int {
		return cmp.Or(cmp.Compare(len(a.at), len(b.at)), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	return found
}

func hasPrefix(name string) bool {
	return strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, legacyPrefix)
}

func isPathName(name string) bool {
	return strings.HasPrefix(name, envPrefix) && strings.Contains(name, "__") && !injectedName.MatchString(name)
}

// fixedNames returns every name that sets one fixed key, with its path and rank.
func fixedNames(root table) map[string]variable {
	names := map[string]variable{}
	add := func(name string, at path, rank int) { names[name] = variable{name: name, at: at, rank: rank} }
	add("HAPROXY_API_FOLLOW", path{"sidecar", "follow"}, rankLegacy)
	add("HAPROXYAPI_LOGGING_LEVEL", path{"haproxy_api", "logging_level"}, rankLegacy)
	for _, key := range []string{
		"bind_ip", "reload_cmd", "verify_cmd", "template", "config_file", "pid_file", "user", "group", "use_hostnames",
	} {
		add("HAPROXY_API_HAPROXY_"+strings.ToUpper(strings.ReplaceAll(key, "_", "")), path{"haproxy", key}, rankLegacy)
	}
	for _, at := range root.knownPaths(nil) {
		// Keys such as sources, which contain names, are only set by their paths.
		if len(at) == 2 {
			if at[0] == "haproxy_api" {
				add(envPrefix+strings.ToUpper(at[1]), at, rankShort)
			}
			add(envPrefix+strings.ToUpper(strings.Join(at, "_")), at, rankTable)
		}
	}
	add(envPrefix+"PLUGIN_DIR", path{"plugin_dir"}, rankPath)
	return names
}

var (
	injectedName = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*(` +
		`SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$|^HAPROXY_?API_ENV_`)
	// Users may set these names too, so the values must match as well.
	injectedPort = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*PORT=(tcp|udp|sctp)://`)
	injectedLink = regexp.MustCompile(`^HAPROXY_?API_([A-Z0-9]+_)*NAME=/`)
)

// isInjected reports whether Kubernetes or Docker sets the variable for a service or container whose name begins with
// haproxy-api.
func isInjected(name, value string) bool {
	pair := name + "=" + value
	return injectedName.MatchString(name) || injectedPort.MatchString(pair) || injectedLink.MatchString(pair)
}

// unknownVariable reports a variable with our prefix that has no effect. It is a fault, because the user may rely on it to
// restrict access.
func (l *loader) unknownVariable(name string, fixed map[string]variable) {
	known := append(slices.Sorted(maps.Keys(fixed)), EnvFile, EnvAddress, EnvClientCert, EnvClientKey)
	best, _ := suggest.Nearest(name, known)
	l.addFault("environment "+name, "is not a known variable; the nearest known one is "+best)
}

// pathOf returns the path that the parts of a variable's name denote.
func pathOf(parts []string, root kind, file map[string]any) path {
	var at path
	for i, part := range parts {
		existing, _ := get(file, at)
		content, _ := existing.(map[string]any)
		names := slices.Sorted(maps.Keys(content))
		switch kind := kindAt(root, at).(type) {
		case table:
			names = append(names, kind.names()...)
		case stringTable:
			return at.with(matchName(kind.fromEnv(parts[i:]), names))
		}
		at = at.with(matchName(strings.ToLower(part), names))
	}
	return at
}

// matchName returns the first of names that equals name except for case, dots and dashes, or name if there is none. An exact
// match takes precedence.
func matchName(name string, names []string) string {
	if slices.Contains(names, name) {
		return name
	}
	if i := slices.IndexFunc(names, func(other string) bool { return fold(other) == fold(name) }); i >= 0 {
		return names[i]
	}
	return name
}

// kindAt returns the kind of the key at that path. An unknown key may have any value; decode reports it.
func kindAt(root kind, at path) kind {
	here := root
	for _, name := range at {
		if here = here.child(name); here == nil {
			return anything{parseText: parseString}
		}
	}
	return here
}

// originOf returns the origin recorded for a path, or else for the nearest table around it or key within it.
func originOf(origins map[string]string, at path) string {
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
