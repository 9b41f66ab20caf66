package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

const fromSet = "flag --set"

// loadSet adds the layer of --set.
func (l *loader) loadSet(pairs []string) {
	root := (&Config{}).schema()
	tree := map[string]any{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			l.addFault(fromSet, fmt.Sprintf("%s is not key=value", quoteValue(path{pair}, pair)))
			continue
		}
		at, err := parsePath(strings.TrimSpace(key))
		if err != nil {
			l.addFault(fromSet, fmt.Sprintf("%s %v", quoteValue(nil, key), err))
			continue
		}
		at = joinName(root, at)
		put(tree, at, kindAt(root, at).parse(value))
	}
	l.add(tree, func(path) string { return fromSet })
}

// joinName joins the last parts of a path if they are the name of a file or a variable, so that names with dots need no quotes.
// Such names have no keys below them.
func joinName(root kind, at path) path {
	for end := range at {
		if _, ok := kindAt(root, at[:end]).(stringTable); ok {
			return at[:end].with(strings.Join(at[end:], "."))
		}
	}
	return at
}

// flagPaths are the keys that flags of their own set.
var flagPaths = map[string]path{
	"follow":     {"sidecar", "follow"},
	"log-level":  {"haproxy_api", "logging_level"},
	"log-format": {"haproxy_api", "logging_format"},
}

// loadFlags adds the layer of the flags in flagPaths that the user has given.
func (l *loader) loadFlags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	tree, origins := map[string]any{}, map[string]string{}
	// Visit does not see the flags that cobra parsed for a subcommand with a flag set of its own.
	flags.VisitAll(func(f *pflag.Flag) {
		if at, ok := flagPaths[f.Name]; ok && f.Changed {
			put(tree, at, f.Value.String())
			origins[at.key()] = "flag --" + f.Name
		}
	})
	l.add(tree, func(at path) string { return originOf(origins, at) })
}
