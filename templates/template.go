package templates

import (
	"context"
	"slices"
	"sync"
	"text/template"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/rendercache"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// A Template is a compiled set. Its files never change, and its methods may be called from any goroutine. It keeps its last
// rendering to make the next one faster, which changes no result.
type Template struct {
	cfg     Config
	sources []source
	set     *template.Template
	called  map[string]bool // the functions that any of its templates calls
	random  *randomSource
	bounds  bounds

	mu        sync.Mutex
	execution *execution // for the rendering that holds mu; others at the same time have one of their own, without a cache
}

// root is what a template starts with as its dot.
type root struct {
	Services map[string][]sdk.Instance
	User     string
	Group    string
	Vars     map[string]any
	Cluster  string
	Source   string
}

// newTemplate compiles sources.
func newTemplate(cfg Config, sources []source, random *randomSource) (*Template, error) {
	set, err := compile(cfg, sources)
	if err != nil {
		return nil, err
	}
	t := &Template{
		cfg: cfg, sources: sources, set: set, called: calledFunctions(set), random: random, bounds: usualBounds,
	}
	if t.isRandom() { // the results of random functions are kept by the owner, which a recorder knows
		sourcemap.InstrumentRanges(t.set)
	}
	t.execution = t.newExecution(t.set)
	return t, nil
}

// addCache gives t a render cache, if it may have one.
func (t *Template) addCache() {
	if !t.isRandom() && !slices.ContainsFunc(modifiers, t.calls) {
		rendercache.Instrument(t.set, t.outputs(), isDeterministic)
		t.execution.cache = &rendercache.Cache{}
	}
}

// calls reports whether any template of t calls the function.
func (t *Template) calls(function string) bool { return t.called[function] }

// isRandom reports whether t calls random functions.
func (t *Template) isRandom() bool { return slices.ContainsFunc(randomFunctions, t.calls) }

// outputs returns the names of the files of the document, in their order.
func (t *Template) outputs() []string {
	var names []string
	for _, src := range t.sources[:1+len(t.cfg.Files)] {
		names = append(names, src.name)
	}
	return names
}

// Render renders the document for snap: the main file, then the companions by name. It is a pure function of the set and the
// snapshot, as far as the functions that the template calls are; see [Template.NondeterministicLines]. The order of instances in
// snap does not matter. It returns early when ctx is done, and with an error that is [Error.Endless] when it exceeds a bound: 256
// MiB of output, 10 million steps or 30 seconds.
//
// notes are human-readable sentences about the data, such as that an instance is ignored, in a deterministic order. They
// are returned with an error, too, which is an [*Error].
func (t *Template) Render(ctx context.Context, snap sdk.Snapshot) (files []sdk.File, notes []string, err error) {
	if t.mu.TryLock() {
		defer t.mu.Unlock()
		return t.execution.render(ctx, snap)
	}
	return t.newExecution(t.set).render(ctx, snap)
}

func (x *execution) render(ctx context.Context, snap sdk.Snapshot) ([]sdk.File, []string, error) {
	s := newServices(snap, x.last)
	defer x.begin(ctx, s)()
	defer x.t.random.endRendering()
	files, err := x.files()
	if x.cache != nil {
		x.last = s
		x.cache.EndExecution(err != nil)
	}
	if err != nil {
		return nil, s.notes, x.t.explain(ctx, s, err)
	}
	return files, s.notes, nil
}
