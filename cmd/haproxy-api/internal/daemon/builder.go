package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/filewatch"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	filesink "github.com/haproxy-api/haproxy-api/sinks/file"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
	filesource "github.com/haproxy-api/haproxy-api/sources/file"
	"github.com/haproxy-api/haproxy-api/sources/sidecar"
)

// The types that are built in.
const (
	typeSidecarPush   = "sidecar-push"
	typeSidecarFollow = "sidecar-follow"
	typeFile          = "file"
	typeHAProxy       = "haproxy" // a plugin in this binary
)

// A builder builds the components of one configuration.
type builder struct {
	cfg             *config.Config
	log             *slog.Logger
	onPluginRestart func(plugin string) // may be nil
	retryStart      bool                // the start of a plugin that fails is retried instead of reported
	store           engine.StateStore   // allows the engine to start a pipeline whose template does not load; may be nil
	stateDir        string              // below which sources and sinks may keep state; "" if they must not
	process1        bool                // see [Options]
}

// build returns the components of the configuration. It takes those in kept as they are, and starts no plugin before all template
// sets have loaded and all directories exist. An error joins all faults; then build has closed everything that it opened.
func (b builder) build(ctx context.Context, kept *components) (*components, error) {
	sets, err := b.prepare(kept)
	if err != nil {
		return nil, err
	}
	return b.open(ctx, kept, sets)
}

// prepare returns the template set of each pipeline, and checks the directories of the sinks. It changes nothing. An error joins
// all faults.
func (b builder) prepare(kept *components) (map[string]engine.Templates, error) {
	sets, err := b.loadTemplates(kept.templates)
	for _, directory := range b.directories(kept) {
		err = errors.Join(err, directory.checkForStart(b.log))
	}
	return sets, err
}

func (b builder) directories(kept *components) []neededDirectory {
	return sinkDirectories(b.cfg, func(sink string) bool { return kept.sinks[sink] != nil })
}

// open creates the directories that are missing, and opens the sources and sinks that are not kept. An error joins all faults;
// then open has closed everything that it opened.
func (b builder) open(ctx context.Context, kept *components, sets map[string]engine.Templates) (*components, error) {
	var directoryErr error
	for _, directory := range b.directories(kept) {
		directoryErr = errors.Join(directoryErr, directory.createIfMissing(b.log))
	}
	if directoryErr != nil {
		return nil, directoryErr
	}
	sources, sourceErr := b.openSources(ctx, kept.sources)
	sinks, sinkErr := b.openSinks(ctx, kept.sinks)
	if err := errors.Join(sourceErr, sinkErr); err != nil {
		closeAll(sources)
		closeAll(sinks)
		return nil, err
	}
	maps.Copy(sources, kept.sources)
	maps.Copy(sinks, kept.sinks)
	return &components{cfg: b.cfg, templates: sets, inputs: b.newInputs(kept.inputs), sources: sources, sinks: sinks}, nil
}

// loadTemplates returns the template set of each pipeline. Sets that are not kept must load.
func (b builder) loadTemplates(kept map[string]engine.Templates) (map[string]engine.Templates, error) {
	sets := maps.Clone(kept)
	if sets == nil {
		sets = map[string]engine.Templates{}
	}
	var faults error
	for _, name := range sortedKeys(b.cfg.Pipelines) {
		if _, ok := sets[name]; ok {
			continue
		}
		sets[name] = newTemplates(b.cfg.Pipelines[name])
		if _, err := sets[name].Load(); err != nil && !b.hasAppliedDocument(name) {
			faults = errors.Join(faults, &ConfigError{withReader(err)})
		}
	}
	return sets, faults
}

// hasAppliedDocument reports whether the state store has a document with which the engine can start the pipeline although its
// template does not load, see [engine.New].
func (b builder) hasAppliedDocument(pipeline string) bool {
	if b.store == nil {
		return false
	}
	doc, ok := b.store.AppliedDocument(pipeline)
	return ok && doc.SinkType == b.cfg.Sinks[b.cfg.Pipelines[pipeline].Sink].Type
}

// newInputs returns the watched files of each pipeline that watches any.
func (b builder) newInputs(kept map[string]engine.Inputs) map[string]engine.Inputs {
	all := map[string]engine.Inputs{}
	for name, p := range b.cfg.Pipelines {
		if inputs, ok := kept[name]; ok {
			all[name] = inputs
		} else if len(p.Watch) > 0 {
			written := sinkFiles(b.cfg, p)
			all[name] = filewatch.NewGlobs(p.Watch, func(path string) bool { return containsPath(written, path) })
		}
	}
	return all
}

// openSources opens the sources that are not kept.
func (b builder) openSources(ctx context.Context, kept map[string]sdk.Source) (map[string]sdk.Source, error) {
	return openAll(b.cfg.Sources, kept, func(name string, c config.Source) (sdk.Source, error) {
		env := sdk.Env{Name: name, Log: b.log.With("source", name), StateDir: b.componentStateDir("source", name)}
		source, err := b.openSource(ctx, env, c.Component)
		return source, withTable("sources", name, err)
	})
}

// openSinks opens the sinks that are not kept.
func (b builder) openSinks(ctx context.Context, kept map[string]sdk.Sink) (map[string]sdk.Sink, error) {
	return openAll(b.cfg.Sinks, kept, func(name string, c config.Component) (sdk.Sink, error) {
		env := sdk.Env{Name: name, Log: b.log.With("sink", name), StateDir: b.componentStateDir("sink", name)}
		sink, err := b.openSink(ctx, env, c)
		return sink, withTable("sinks", name, err)
	})
}

// componentStateDir returns the directory for the state of one source or sink, and "" if it must not keep any.
func (b builder) componentStateDir(kind, name string) string {
	if b.stateDir == "" {
		return ""
	}
	return filepath.Join(b.stateDir, "plugins", kind+"-"+name)
}

// openAll opens the components of one table that are not kept, in parallel, so that a slow plugin does not delay others. An error
// joins the errors of all components; then those that opened are closed.
func openAll[C, T any](table map[string]C, kept map[string]T, open func(name string, c C) (T, error)) (map[string]T, error) {
	missing := maps.Clone(table)
	maps.DeleteFunc(missing, func(name string, _ C) bool { _, ok := kept[name]; return ok })
	var mu sync.Mutex
	opened := map[string]T{}
	err := parallel(missing, func(name string, c C) error {
		component, err := open(name, c)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		opened[name] = component
		return nil
	})
	if err != nil {
		closeAll(opened)
		return nil, err
	}
	return opened, nil
}

func (b builder) openSource(ctx context.Context, env sdk.Env, c config.Component) (sdk.Source, error) {
	switch c.Type {
	case typeSidecarPush:
		return open(env, c, sidecar.PushDefaults(), sidecar.NewPush)
	case typeSidecarFollow:
		return open(env, c, sidecar.FollowDefaults(), sidecar.NewFollow)
	case typeFile:
		return open(env, c, filesource.Defaults(), filesource.New)
	}
	options, err := b.pluginOptions("source", env, c)
	if err != nil {
		return nil, err
	}
	return host.StartSource(ctx, options)
}

func (b builder) openSink(ctx context.Context, env sdk.Env, c config.Component) (sdk.Sink, error) {
	if c.Type == typeFile {
		return open(env, c, filesink.Defaults(), filesink.New)
	}
	options, err := b.pluginOptions("sink", env, c)
	if err != nil {
		return nil, err
	}
	return host.StartSink(ctx, options)
}

// open decodes a component's block over the defaults and calls construct with the result.
func open[C, T any](env sdk.Env, c config.Component, cfg C, construct func(sdk.Env, C) (T, error)) (T, error) {
	if err := sdk.Decode(c.Block, &cfg); err != nil {
		var none T
		return none, err
	}
	return construct(env, cfg)
}

// pluginOptions returns how to run the plugin of a component. The HAProxy plugin is this binary, unless the configuration names
// another program for it.
func (b builder) pluginOptions(kind string, env sdk.Env, c config.Component) (host.Options, error) {
	options := host.Options{
		Name: env.Name, Block: c.Block, Log: env.Log, StateDir: env.StateDir, RetryStart: b.retryStart,
	}
	if b.process1 && c.Type == typeHAProxy {
		options.Block = maps.Clone(c.Block)
		options.Block["on_exit"] = haproxy.OnExitStop
	}
	if b.onPluginRestart != nil {
		options.OnRestart = func() { b.onPluginRestart(env.Name) }
	}
	plugin, configured := b.cfg.Plugins[c.Type]
	if kind == "sink" && c.Type == typeHAProxy && !configured {
		self, err := os.Executable()
		if err != nil {
			return options, fmt.Errorf("cannot find the program to run the plugin with: %w", err)
		}
		options.Path, options.Args = self, []string{"plugin", "haproxy"}
		return options, nil
	}
	path, err := host.Find(kind, c.Type, plugin.Path, b.cfg.PluginDir)
	if err != nil {
		return options, err
	}
	options.Path, options.SHA256, options.Args = path, plugin.SHA256, plugin.Args
	for _, name := range sortedKeys(plugin.Env) {
		options.Env = append(options.Env, name+"="+plugin.Env[name])
	}
	return options, nil
}

// Types lists the types of sources and sinks that the configuration can use: those that are built in, those of configured
// plugins, and those in the plugin directory.
func Types(cfg *config.Config) []host.Installed {
	all := []host.Installed{
		{Kind: "source", Type: typeSidecarPush, Path: "built in"},
		{Kind: "source", Type: typeSidecarFollow, Path: "built in"},
		{Kind: "source", Type: typeFile, Path: "built in"},
		{Kind: "sink", Type: typeHAProxy, Path: "built in"},
		{Kind: "sink", Type: typeFile, Path: "built in"},
	}
	for _, name := range sortedKeys(cfg.Plugins) {
		if path := cfg.Plugins[name].Path; path != "" {
			all = append(all, host.Installed{Kind: "any", Type: name, Path: path})
		}
	}
	return append(all, host.List(cfg.PluginDir)...)
}

// withTable prefixes an error of a component with the component's table, and turns each of its [sdk.Faults] into a
// [*ConfigError]. The components of [sidecar] and [haproxy] are named as the user wrote them.
func withTable(table, name string, err error) error {
	if err == nil {
		return nil
	}
	at := tableOf(table, name)
	faults, ok := errors.AsType[sdk.Faults](err)
	if !ok {
		return fmt.Errorf("%s: %w", at, err)
	}
	var all error
	for _, f := range faults {
		if f.Key != "" {
			f.Key = at + "." + f.Key
			all = errors.Join(all, &ConfigError{errors.New(f.String())})
			continue
		}
		all = errors.Join(all, &ConfigError{fmt.Errorf("%s: %s", at, f.Problem)})
	}
	return all
}

// tableOf returns the table of a component, as the user wrote it.
func tableOf(table, name string) string {
	if table == "sources" && name == config.ShorthandSource || table == "sinks" && name == config.ShorthandSink {
		return name
	}
	return table + "." + name
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
