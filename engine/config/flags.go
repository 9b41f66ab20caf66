package config

import (
	"fmt"
	"strings"

	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const flagSet = "flag --set"

// sets adds the layer of --set.
func (l *loader) sets(pairs []string) {
	root := (&Config{}).schema()
	tree := map[string]any{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			l.fail(flagSet, fmt.Sprintf("%s is not key=value", shown(path{pair}, pair)))
			continue
		}
		at, err := parsePath(strings.TrimSpace(key))
		if err != nil {
			l.fail(flagSet, fmt.Sprintf("%s %v", shown(nil, key), err))
			continue
		}
		at = joinTail(root, at)
		put(tree, at, kindAt(root, at).fromText(value))
	}
	if len(tree) > 0 {
		l.addTree(tree, func(path) string { return flagSet })
	}
}

// joinTail lets names of files and variables have dots without quotes, since nothing can stand below them.
func joinTail(root kind, at path) path {
	for end := range at {
		if _, ok := kindAt(root, at[:end]).(texts); ok {
			return at[:end].with(strings.Join(at[end:], "."))
		}
	}
	return at
}

// flags adds the layer of the flags that stand for keys.
func (l *loader) flags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	names := map[string]string{}
	content := koanf.New(delimiter)
	// Reading flags that are parsed already has no way to fail.
	_ = content.Load(posflag.ProviderWithFlag(flags, delimiter, nil, func(f *pflag.Flag) (string, any) {
		at, ok := flagKeys()[f.Name]
		if !ok {
			return "", nil
		}
		names[at.key()] = "flag --" + f.Name
		return at.key(), f.Value.String()
	}), nil)
	if len(content.Keys()) > 0 {
		l.add(layer{content, func(at path) string { return longest(names, at) }})
	}
}

func flagKeys() map[string]path {
	return map[string]path{
		"follow":     {"sidecar", "follow"},
		"log-level":  {"haproxy_api", "logging_level"},
		"log-format": {"haproxy_api", "logging_format"},
	}
}
