package config

import (
	"maps"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Options are the places that a configuration comes from. The zero value loads the defaults.
type Options struct {
	File    string   // path of a .toml, .yaml, .yml or .json file; "" for none
	Named   bool     // whether the user named File; only then a missing file is a fault
	Environ []string // as from [os.Environ]; see the package documentation for the names
	Set     []string // "key=value", the key as TOML writes it; later ones take precedence

	Paths map[ComponentKey]PathUse // the keys of sources and sinks that are paths

	// Flags may contain the flags follow, log-level and log-format, which set keys. Those that the user has given take precedence
	// over Set. All other flags are ignored. It may be nil.
	Flags *pflag.FlagSet
}

// DefaultFile is the path of the configuration file where the user names none.
const DefaultFile = "haproxy-api.toml"

// Load reads and validates the configuration. Its error is of type [Faults] and contains every fault that was found. An invalid
// value is a fault even if another place overrides it. Load reads the configuration file and the files that keys ending in _file
// name, and has no other side effect.
//
// The tables sidecar and haproxy are shorthand and are expanded in the result: a source "sidecar" of type "sidecar-follow" or,
// without sidecar.follow, "sidecar-push"; a sink "haproxy" of type "haproxy"; and a pipeline "haproxy" that connects them.
// Pipeline and sink are defined if there is no other pipeline or if any key of haproxy is set. The source is defined in the same
// cases and if any key of sidecar is set.
//
// A relative path is relative to the working directory. A relative path in the configuration file is relative to the directory of
// that file if it leads to nothing in the working directory and to something there: to a file or a match of the pattern if it is
// read, to the directory of the file if it is written. A warning names each such path, each path that leads to something in both,
// and each path of a file to read that leads to nothing in either.
func Load(o Options) (*Config, error) {
	l := &loader{}
	l.loadFile(o.File, o.Named)
	l.loadEnvironment(o.Environ)
	l.loadSet(o.Set)
	l.loadFlags(o.Flags)
	l.resolvePaths(o.File, o.Paths)
	l.loadSecretFiles()
	l.loadDefaults()

	c := &Config{}
	// Faults of single values were reported when their layers were added.
	c.schema().decode(nil, l.effective.Raw(), &collector{origin: func(path) string { return "" }})
	c.Warnings = l.warnings
	c.expandShorthand(l)
	c.validate(l)
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	c.values = l.values()
	return c, nil
}

// A layer is the part of the configuration that comes from one place.
type layer struct {
	content *koanf.Koanf
	origin  func(path) string // names the place for the key at a path
}

func newLayer(tree map[string]any, origin func(path) string) layer {
	content := koanf.New(delimiter)
	// Loading a map that is already nested cannot fail.
	_ = content.Load(confmap.Provider(tree, ""), nil)
	return layer{content, origin}
}

// A loader collects the layers and their faults.
type loader struct {
	layers   []layer // later ones take precedence
	hasFile  bool    // the first layer is the configuration file
	defaults layer   // what holds where no layer sets a key

	given     map[string]any // all layers merged, without the defaults
	effective *koanf.Koanf   // all layers and the defaults merged
	secrets   []path         // the keys whose values were read from files of their own
	faults    Faults
	warnings  []string
}

// add appends a layer with the content of tree. It validates the layer by itself, so that faults are found in values that another
// layer overrides.
func (l *loader) add(tree map[string]any, origin func(path) string) {
	if len(tree) == 0 {
		return
	}
	keys := (&Config{}).schema()
	c := &collector{origin: origin, known: keys.knownPaths(nil)}
	keys.decode(nil, tree, c)
	l.faults = append(l.faults, c.faults...)
	l.layers = append(l.layers, newLayer(tree, origin))
}

// addFault reports a fault that does not concern a single key.
func (l *loader) addFault(origin, problem string) {
	l.faults = append(l.faults, Fault{Origin: origin, Problem: problem})
}

// addFaultAt reports a fault of the effective configuration at that path.
func (l *loader) addFaultAt(at path, problem string) {
	l.faults = append(l.faults, Fault{Origin: l.origin(at), Key: at.String(), Problem: problem})
}

// addMissing reports that the table at that path lacks something. The origin is the first place that sets the table.
func (l *loader) addMissing(at path, problem string) {
	i := slices.IndexFunc(l.layers, func(next layer) bool { return next.content.Exists(at.key()) })
	l.faults = append(l.faults, Fault{Origin: l.layers[max(0, i)].origin(at), Key: at.String(), Problem: problem})
}

// merged returns the content of the layers so far.
func (l *loader) merged() *koanf.Koanf {
	merged := koanf.New(delimiter)
	for _, next := range l.layers {
		// Merging cannot fail, because koanf's option for strict types is off.
		_ = merged.Merge(next.content)
	}
	return merged
}

// origin names the place that the value at that path comes from.
func (l *loader) origin(at path) string {
	for _, next := range slices.Backward(l.layers) {
		if next.content.Exists(at.key()) {
			return next.origin(at)
		}
	}
	if l.defaults.origin != nil {
		return l.defaults.origin(at)
	}
	return fromDefault
}

const fromDefault = "default"

// loadDefaults adds the defaults and merges all layers into the effective configuration. It runs last, because some defaults
// depend on other keys.
func (l *loader) loadDefaults() {
	given := l.merged()
	l.given = given.Raw()
	l.defaults = newLayer(l.defaultValues(), l.defaultOrigin)
	l.effective = l.defaults.content.Copy()
	_ = l.effective.Merge(given)
}

func (l *loader) defaultValues() map[string]any {
	tree := (&Config{}).schema().defaults()
	mode := modeManaged
	if cmd, found := get(l.given, path{"haproxy", "reload_cmd"}); found && cmd != "" {
		mode = modeCommand
	}
	put(tree, path{"haproxy", "mode"}, mode)
	for _, name := range l.names("sources") {
		put(tree, path{"sources", name}, (&Guard{}).schema().defaults())
	}
	for _, name := range l.names("pipelines") {
		at := path{"pipelines", name}
		put(tree, at, (&Pipeline{}).schema().defaults())
		for _, key := range inheritedKeys {
			v, found := get(l.given, path{"haproxy", key})
			if !found {
				v, _ = get(tree, path{"haproxy", key})
			}
			put(tree, at.with(key), v)
		}
	}
	return tree
}

// defaultOrigin returns "default", or the origin of the value that a pipeline inherits from the table haproxy.
func (l *loader) defaultOrigin(at path) string {
	if len(at) == 3 && at[0] == "pipelines" && slices.Contains(inheritedKeys, at[2]) {
		return l.origin(path{"haproxy", at[2]})
	}
	return fromDefault
}

// sets reports whether any layer sets the key or table at that path.
func (l *loader) sets(at ...string) bool {
	_, found := get(l.given, at)
	return found
}

// names returns the sorted keys of a table of named tables, whether their values are valid or not.
func (l *loader) names(table string) []string {
	content, _ := l.given[table].(map[string]any)
	return slices.Sorted(maps.Keys(content))
}
