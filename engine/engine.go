package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Templates is a template set on disk.
type Templates interface {
	// Load reads and compiles the set as it is now. Its error names file and line.
	Load() (Template, error)
	// Watch calls changed soon after the set changed on disk. It blocks and returns nil when ctx is done.
	Watch(ctx context.Context, changed func()) error
}

// A Template renders snapshots. It never changes and may be used from several goroutines.
type Template interface {
	// Render returns the files of a document, the main one first, and notes about the snapshot that a person should see,
	// such as an instance that had to be left out. It stops early when ctx is done. An error with a method Endless that returns
	// true says that rendering any snapshot takes long and ends in the same way.
	Render(ctx context.Context, snap sdk.Snapshot) (files []sdk.File, notes []string, err error)
}

// PipelineConfig joins one template set to its source and its sink.
type PipelineConfig struct {
	Name      string
	Source    string // a key of [Config.Sources]
	Templates Templates
	Sink      sdk.Sink // no other pipeline's
	SinkType  string   // what was good for a sink of one type is not offered to one of another
	Inputs    Inputs   // nil for none

	// Conflicts returns pairs of lines of a document that claim one thing that only one of them can have, such as an address to
	// listen at, and says in Problem what each claims. Of two services the one with the older instance keeps it, the other one is
	// left out; the template's own lines keep what they claim. It is called for every document that is rendered, and nil means
	// that nothing conflicts.
	Conflicts func(files []sdk.File) [][2]sdk.Position
}

// SourceConfig is a source, and how far it is believed.
type SourceConfig struct {
	Source sdk.Source
	Guard  Guard
}

// Config says what an [Engine] runs.
type Config struct {
	Sources    map[string]SourceConfig
	Pipelines  []PipelineConfig
	Listening  []netip.AddrPort // where the daemon listens: an instance there is quarantined
	StateStore StateStore       // nil for none
	Log        *slog.Logger
	Observer   Observer // nil for none
}

// An Observer is told what happens, from several goroutines, and must not block.
type Observer interface {
	SnapshotReceived(snap sdk.Snapshot, held bool)
	Held(pipeline string, held bool) // when it begins or ends; once at the start
	Quarantined(source string, instances int)
	Rendered(pipeline string, took time.Duration, err error)
	Applied(Entry)
}

// An Engine runs sources and pipelines. Its methods may be called from any goroutine.
type Engine struct {
	log      *slog.Logger
	observer Observer
	store    StateStore
	changes  chan func() // to Run

	mu sync.RWMutex // held to replace what is below
	set
}

// A set is what an engine runs.
type set struct {
	sources   map[string]*source
	pipelines []*pipeline
}

// New prepares an engine. It loads every template set, and reports each that does not load or that has no source. One that does
// not load is no fault where the memory has what was in effect: that holds until the template is mended.
func New(cfg Config) (*Engine, error) {
	e := &Engine{log: cfg.Log, observer: cfg.Observer, store: cfg.StateStore, changes: make(chan func())}
	if e.observer == nil {
		e.observer = silent{}
	}
	if e.store == nil {
		e.store = noStateStore{}
	}
	p, err := e.plan(cfg)
	if err != nil {
		return nil, err
	}
	e.install(p)
	return e, nil
}

// Run runs everything until ctx is done and all of it has stopped. What is in effect stays in effect. It begins with what the
// memory has.
func (e *Engine) Run(ctx context.Context) {
	for {
		e.start(ctx)
		select {
		case <-ctx.Done():
			e.stop(func(task) bool { return true })
			for _, s := range e.sources {
				s.stopTimer()
			}
			return
		case change := <-e.changes:
			change()
		}
	}
}

// now returns what the engine runs at the moment.
func (e *Engine) now() set {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.set
}

// Snapshot returns the newest snapshot of the named source, and false where it has none yet.
func (e *Engine) Snapshot(name string) (sdk.Snapshot, bool) {
	s, ok := e.now().sources[name]
	if !ok {
		return sdk.Snapshot{}, false
	}
	return s.latest()
}

// Status tells about every pipeline, in the order of the configuration.
func (e *Engine) Status() []PipelineStatus {
	var all []PipelineStatus
	for _, p := range e.now().pipelines {
		all = append(all, p.report())
	}
	return all
}

// PipelineHealth is how a pipeline and its sink are.
type PipelineHealth struct {
	PipelineStatus
	sdk.Health
}

// Health asks every sink at once, in the order of the configuration. To what a sink says of itself comes the problem that the
// last document could not be applied. A sink that has not answered when ctx is done has a problem too.
func (e *Engine) Health(ctx context.Context) []PipelineHealth {
	pipelines := e.now().pipelines
	all := make([]PipelineHealth, len(pipelines))
	var wg sync.WaitGroup
	for i, p := range pipelines {
		wg.Go(func() {
			health := p.health(ctx)
			all[i] = PipelineHealth{p.report(), health}
		})
	}
	wg.Wait()
	return all
}

// SourceHealth returns what the named source says of itself, and whether it gave up.
func (e *Engine) SourceHealth(ctx context.Context, name string) sdk.Health {
	s, ok := e.now().sources[name]
	if !ok {
		return sdk.Health{}
	}
	return s.health(ctx)
}

// ErrNoPipeline means that there is no pipeline of that name.
var ErrNoPipeline = errors.New("there is no such pipeline")

// Release lets the snapshot through that the source of the named pipeline holds, to all pipelines that it feeds. It reports
// whether there was one. The error is [ErrNoPipeline].
func (e *Engine) Release(pipeline string) (bool, error) {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return false, err
	}
	return p.source.letThrough(nil, "somebody released it"), nil
}

// Apply has the named pipeline try again now, whatever it waits for, and its sink be asked even for a document that it has made
// live already. It does not wait for what comes of it. The error is [ErrNoPipeline].
func (e *Engine) Apply(pipeline string) error {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return err
	}
	p.asked.raise()
	return nil
}

// Reread has all pipelines ask their sinks whether files have changed that their programs read beside the document. It does not
// wait for what comes of it.
func (e *Engine) Reread() {
	for _, p := range e.now().pipelines {
		p.rereads.raise()
	}
}

func (e *Engine) pipeline(name string) (*pipeline, error) {
	for _, p := range e.now().pipelines {
		if p.name == name {
			return p, nil
		}
	}
	return nil, ErrNoPipeline
}

type silent struct{}

func (silent) SnapshotReceived(sdk.Snapshot, bool)   {}
func (silent) Held(string, bool)                     {}
func (silent) Quarantined(string, int)               {}
func (silent) Rendered(string, time.Duration, error) {}
func (silent) Applied(Entry)                         {}
