package config

import (
	"maps"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Options say where the configuration comes from. The zero value asks for the defaults.
type Options struct {
	File    string   // path of a .toml, .yaml, .yml or .json file; "" for none
	Named   bool     // whether a person named File: only then it has to exist
	Environ []string // as from [os.Environ]; the package documentation has the names
	Set     []string // "key=value", the key as TOML writes it; later ones win

	// Flags may hold flags of these names that stand for keys: follow, log-level, log-format. Those that a person has
	// given count, and win over Set. All others are left alone; nil is fine.
	Flags *pflag.FlagSet
}

// DefaultFile is the configuration file where nobody names one.
const DefaultFile = "haproxy-api.toml"

// Load reads and checks the configuration. Its error is [Faults] and has everything that was found wrong; a value
// that is wrong is a fault also where a later place overrides it. Load reads the one file, and those that keys named _file
// in it are about, and has no other effect.
//
// The tables sidecar and haproxy are shorthand, and stand expanded in the result: a source "sidecar" of type
// "sidecar-follow" or, where nothing is to be followed, "sidecar-push"; a sink "haproxy" of type "haproxy"; a
// pipeline "haproxy" from the one to the other. Pipeline and sink are there when no pipeline is given, or when any
// key of haproxy is; the source is there as well then, or when any key of sidecar is given.
func Load(o Options) (*Config, error) {
	l := &loader{}
	l.file(o.File, o.Named)
	l.environment(o.Environ)
	l.sets(o.Set)
	l.flags(o.Flags)
	l.secretFiles()
	l.derive()

	c := &Config{}
	l.read(c)
	c.Warnings = l.warnings
	c.expand(l)
	c.check(l)
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	c.values = l.values()
	return c, nil
}

// A layer is what one place says.
type layer struct {
	content *koanf.Koanf
	origin  func(path) string
}

func newLayer(tree map[string]any, origin func(path) string) (layer, error) {
	content := koanf.New(delimiter)
	err := content.Load(confmap.Provider(tree, ""), nil)
	return layer{content, origin}, err
}

// A loader collects the layers, later ones winning, and what is wrong with them.
type loader struct {
	layers []layer
	base   layer // what holds where no layer says anything

	given     map[string]any // all layers, merged, without base
	effective *koanf.Koanf   // the same with base
	secrets   []path         // what was read from files of their own
	faults    Faults
	warnings  []string
}

// add checks the layer by itself, so that faults are found that another layer would hide.
func (l *loader) add(next layer) {
	throwaway := &Config{}
	keys := throwaway.schema()
	c := &collector{origin: next.origin, known: keys.knownPaths(nil)}
	keys.read(nil, next.content.Raw(), c)
	l.faults = append(l.faults, c.faults...)
	l.layers = append(l.layers, next)
}

func (l *loader) addTree(tree map[string]any, origin func(path) string) {
	next, err := newLayer(tree, origin)
	if err != nil {
		l.fail(origin(nil), err.Error())
		return
	}
	l.add(next)
}

// fail reports a fault that is not about a single key.
func (l *loader) fail(origin, problem string) {
	l.faults = append(l.faults, Fault{Origin: origin, Problem: problem})
}

// failAt reports a fault of the configuration as a whole that shows at that path.
func (l *loader) failAt(at path, problem string) {
	l.faults = append(l.faults, Fault{Origin: l.origin(at), Key: at.String(), Problem: problem})
}

// lacks reports that something is missing from what the first place that speaks of it says.
func (l *loader) lacks(at path, problem string) {
	i := slices.IndexFunc(l.layers, func(next layer) bool { return next.content.Exists(at.key()) })
	l.faults = append(l.faults, Fault{Origin: l.layers[max(0, i)].origin(at), Key: at.String(), Problem: problem})
}

// merged returns the content of the layers so far.
func (l *loader) merged() *koanf.Koanf {
	merged := koanf.New(delimiter)
	for _, next := range l.layers {
		// Merging is by our own delimiter and without koanf's strict types: it has no way to fail.
		_ = merged.Merge(next.content)
	}
	return merged
}

// origin names the place that has the last word on what is at that path.
func (l *loader) origin(at path) string {
	for _, next := range slices.Backward(l.layers) {
		if next.content.Exists(at.key()) {
			return next.origin(at)
		}
	}
	if l.base.origin != nil {
		return l.base.origin(at)
	}
	return fromDefault
}

const fromDefault = "default"

// derive makes the base, and the effective configuration from it and all the layers.
func (l *loader) derive() {
	given := l.merged()
	l.given = given.Raw()
	base, err := newLayer(l.fallbacks(), l.baseOrigin)
	if err != nil {
		l.fail(fromDefault, err.Error())
	}
	l.base = base
	l.effective = base.content.Copy()
	_ = l.effective.Merge(given)
}

// fallbacks returns the defaults, those that depend on other keys included.
func (l *loader) fallbacks() map[string]any {
	tree := (&Config{}).schema().fallbacks()
	mode := modeManaged
	if cmd, found := get(l.given, path{"haproxy", "reload_cmd"}); found && cmd != "" {
		mode = modeCommand
	}
	put(tree, path{"haproxy", "mode"}, mode)
	for _, name := range l.names("sources") {
		put(tree, path{"sources", name}, (&Guard{}).keys().fallbacks())
	}
	for _, name := range l.names("pipelines") {
		at := path{"pipelines", name}
		put(tree, at, (&Pipeline{}).keys().fallbacks())
		for _, key := range inherited() {
			v, found := get(l.given, path{"haproxy", key})
			if !found {
				v, _ = get(tree, path{"haproxy", key})
			}
			put(tree, at.with(key), v)
		}
	}
	return tree
}

// baseOrigin says default, or where the value was taken from that a pipeline inherits.
func (l *loader) baseOrigin(at path) string {
	if len(at) == 3 && at[0] == "pipelines" && slices.Contains(inherited(), at[2]) {
		return l.origin(path{"haproxy", at[2]})
	}
	return fromDefault
}

// read fills c. What is wrong has been reported by add.
func (l *loader) read(c *Config) {
	silent := &collector{origin: func(path) string { return "" }}
	c.schema().read(nil, l.effective.Raw(), silent)
}

// says reports whether any layer says something about what is at that path.
func (l *loader) says(at ...string) bool {
	_, found := get(l.given, at)
	return found
}

// names returns the sorted names that are given in a table of named tables, readable or not.
func (l *loader) names(table string) []string {
	content, _ := l.given[table].(map[string]any)
	return slices.Sorted(maps.Keys(content))
}
