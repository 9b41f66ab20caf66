package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Templates is a template set on disk. Implementations must be comparable: see [Engine.Change].
type Templates interface {
	// Load reads and compiles the set as it is now. Its error names file and line.
	Load() (Template, error)
	// Watch calls changed soon after the set has changed on disk, with the path of a file that has. It blocks and returns nil
	// when ctx is done.
	Watch(ctx context.Context, changed func(path string)) error
}

// A Template renders snapshots. It never changes and may be used from several goroutines. It may implement
// [exclude.SourceMapper] and [NondeterminismReporter].
type Template interface {
	// Render returns the files of a document, the main one first, and human-readable notes about the snapshot, such as an
	// instance that was omitted. It returns early when ctx is done. An error with a method Endless() bool that returns true says
	// that rendering any snapshot takes long and fails in the same way. See [exclude.Pass] for errors of single iterations.
	Render(ctx context.Context, snap sdk.Snapshot) (files []sdk.File, notes []string, err error)
}

// PipelineConfig connects one template set to its source and its sink.
type PipelineConfig struct {
	Name      string
	Source    string // a key of [Config.Sources]
	Templates Templates
	Paths     []string // of the template files, for the status
	Sink      sdk.Sink // not shared with other pipelines
	SinkName  string   // in the configuration, for the status
	SinkType  string   // a document that was applied by a sink of one type is not applied to one of another
	Inputs    Inputs   // nil for none

	// Conflicts returns the conflicts between lines of a document; nil for none. Of two services, the one with the older instance
	// keeps the resource, and the other one is excluded; the template's own lines always keep it. It is called for every document
	// that is rendered.
	Conflicts func(files []sdk.File) []exclude.Conflict
}

// SourceConfig is a source and its guard.
type SourceConfig struct {
	Source sdk.Source
	Type   string // in the configuration, for the status
	Guard  Guard
}

// Config says what an [Engine] runs.
type Config struct {
	Sources    map[string]SourceConfig
	Pipelines  []PipelineConfig
	Listening  []netip.AddrPort // where the daemon listens: instances there are quarantined
	StateStore StateStore       // nil for none
	Log        *slog.Logger
	Observer   Observer // nil for none
	Tracer     Tracer   // nil for none
}

// A Tracer makes traces of changes. Its methods must not block.
type Tracer interface {
	// Applying is called before a document is passed to the sink, which gets the returned context. received is when the trigger
	// arrived. Changed of the [Observer] follows, unless the sink had nothing to do.
	Applying(ctx context.Context, pipeline string, doc sdk.Document, received time.Time) context.Context
}

// An Engine runs sources and pipelines. Its methods may be called from any goroutine.
type Engine struct {
	log      *slog.Logger
	observer Observer
	tracer   Tracer
	store    StateStore
	changes  chan func() // for the goroutine of Run

	mu sync.RWMutex // held to replace the components
	components
}

// components are what an engine runs.
type components struct {
	sources   map[string]*source
	pipelines []*pipeline
}

// tasks returns all sources and pipelines.
func (c components) tasks() []task {
	var tasks []task
	for _, s := range c.sources {
		tasks = append(tasks, s)
	}
	for _, p := range c.pipelines {
		tasks = append(tasks, p)
	}
	return tasks
}

// New returns an engine that does not run yet. It loads every template set. The error has every one that does not load and every
// missing source. A pipeline whose template set does not load can start if the state store has its last applied document.
func New(cfg Config) (*Engine, error) {
	e := &Engine{log: cfg.Log, observer: cfg.Observer, tracer: cfg.Tracer, store: cfg.StateStore, changes: make(chan func())}
	if e.observer == nil {
		e.observer = NoObserver{}
	}
	if e.store == nil {
		e.store = noStateStore{}
	}
	d, err := e.diff(cfg)
	if err != nil {
		return nil, err
	}
	e.install(d)
	return e, nil
}

// Run runs all sources and pipelines until ctx is done, and returns when they have stopped. Applied documents stay applied. Run
// begins with the contents of the state store.
func (e *Engine) Run(ctx context.Context) {
	for {
		for _, s := range e.sources {
			s.restore() // before the pipelines start
		}
		for _, t := range e.tasks() {
			t.start(ctx, t.run)
		}
		select {
		case <-ctx.Done():
			stopTasks(e.tasks())
			for _, s := range e.sources {
				s.stopTimer()
			}
			return
		case change := <-e.changes:
			change()
		}
	}
}

// current returns what the engine runs now. The goroutine of Run reads the components without it.
func (e *Engine) current() components {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.components
}

// Snapshot returns the newest snapshot of the named source, and false if there is none yet.
func (e *Engine) Snapshot(source string) (sdk.Snapshot, bool) {
	s, ok := e.current().sources[source]
	if !ok {
		return sdk.Snapshot{}, false
	}
	return s.latest()
}

// Status returns the status of every pipeline, in the order of the configuration.
func (e *Engine) Status() []PipelineStatus {
	var all []PipelineStatus
	for _, p := range e.current().pipelines {
		all = append(all, p.status())
	}
	return all
}

// Health returns the status and the health of every pipeline, in the order of the configuration. It calls all sinks at the
// same time. The problems of a pipeline are those of its sink and that the last document could not be applied, or that the
// sink has not answered when ctx is done.
func (e *Engine) Health(ctx context.Context) []PipelineHealth {
	pipelines := e.current().pipelines
	all := make([]PipelineHealth, len(pipelines))
	var wg sync.WaitGroup
	for i, p := range pipelines {
		wg.Go(func() { all[i] = p.health(ctx) })
	}
	wg.Wait()
	return all
}

// ErrNoPipeline means that there is no pipeline of that name.
var ErrNoPipeline = errors.New("there is no such pipeline")

// Release passes the snapshot that is held by the guard of the named pipeline's source to all pipelines of that source. It
// reports whether there was one. by is the address of the client that requests it, for the history. The error is [ErrNoPipeline].
func (e *Engine) Release(pipeline, by string) (bool, error) {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return false, err
	}
	return p.source.release(nil, "by request from "+by), nil
}

// Apply makes the named pipeline try everything again now, and its sink apply the document even if it has it already. It does not
// wait for the outcome. by is the address of the client that requests it, for the history. The error is [ErrNoPipeline].
func (e *Engine) Apply(pipeline, by string) error {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return err
	}
	p.requested.put(causeNow(history.TriggerRequest, by))
	return nil
}

// Reread makes all sinks check whether other files that their programs read have changed. It does not wait for the outcome.
func (e *Engine) Reread() {
	for _, p := range e.current().pipelines {
		p.rereads.raise()
	}
}

// History returns the history of the named pipeline. The error is [ErrNoPipeline].
func (e *Engine) History(pipeline string) (*history.Log, error) {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return nil, err
	}
	return p.history, nil
}

func (e *Engine) pipeline(name string) (*pipeline, error) {
	for _, p := range e.current().pipelines {
		if p.name == name {
			return p, nil
		}
	}
	return nil, ErrNoPipeline
}
