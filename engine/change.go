package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Change replaces the running configuration by next. Components that compare equal (==) keep running: a source, and a pipeline
// whose source, templates, sink and inputs are the same. A source that replaces one of the same name keeps its snapshot until it
// emits one. A pipeline that replaces one of the same name continues its generations, and its last applied document stays applied
// until there is a better one, unless its sink is of another type.
//
// Everything that can fail is tried first: new templates load, and new pipelines render the newest snapshot, and their
// sinks check the document if they can. The error has all faults, and nothing has changed in that case.
//
// When the pipelines and sources that are removed or replaced have stopped, Change calls switchOver. At that time
// nothing uses the previous or the new sinks. switchOver returns next, or an error and the configuration to run instead; Change
// returns that error.
//
// Change ignores Log, Observer, Tracer and StateStore of next. It waits for Run, which must be running, and returns an error if
// ctx is done before it has begun.
func (e *Engine) Change(ctx context.Context, next Config, switchOver func() (Config, error)) error {
	done := make(chan error, 1)
	select {
	case e.changes <- func() { done <- e.change(ctx, next, switchOver) }:
		return <-done
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// change is Change without starting what is new. The goroutine of Run calls it.
func (e *Engine) change(ctx context.Context, next Config, switchOver func() (Config, error)) error {
	d, err := e.diff(next)
	if err != nil {
		return err
	}
	if err := d.check(ctx); err != nil {
		return err
	}
	// Nothing has changed so far, and nothing below can fail but switchOver.
	stopTasks(d.stop)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	run, err := switchOver()
	if err != nil {
		instead, diffErr := e.diff(run)
		if diffErr != nil { // although it ran a moment ago
			return errors.Join(err, diffErr)
		}
		d = instead
	}
	e.install(d)
	return err
}

// A configDiff says what a configuration adds to what the engine runs, removes from it and keeps. A component that is replaced by
// another one of the same name is both removed and added.
type configDiff struct {
	config    Config
	sources   map[string]*source // of config, by name; those that are added do not have their implementation yet
	removed   []*source          // without a successor of the same name
	pipelines []pipelineDiff     // of config
	stop      []task             // everything that does not keep running
}

// A pipelineDiff is the change of one pipeline.
type pipelineDiff struct {
	PipelineConfig
	source    *source
	before    *pipeline // of the same name; nil if the pipeline is added
	kept      bool      // before keeps running as it is
	template  Template  // nil if before has the same template set and a sink of the same type
	loadError error     // why the template does not load, if the pipeline can start without
}

// diff compares cfg with what the engine runs and loads new templates. The error has all faults.
func (e *Engine) diff(cfg Config) (*configDiff, error) {
	d := &configDiff{config: cfg, sources: map[string]*source{}}
	for name := range cfg.Sources {
		d.sources[name] = e.sources[name]
		if d.sources[name] == nil {
			d.sources[name] = &source{name: name, store: e.store, log: e.log.With("source", name), observer: e.observer}
		}
	}
	for name, s := range e.sources {
		if d.sources[name] == nil {
			d.removed = append(d.removed, s)
		}
		if cfg.Sources[name].Source != s.implementation() {
			d.stop = append(d.stop, s)
		}
	}
	var faults error
	kept := map[*pipeline]bool{}
	for _, pc := range cfg.Pipelines {
		pd, err := e.diffPipeline(pc, d.sources[pc.Source])
		if err != nil {
			faults = errors.Join(faults, err)
			continue
		}
		d.pipelines = append(d.pipelines, pd)
		if pd.kept {
			kept[pd.before] = true
		}
	}
	for _, p := range e.pipelines {
		if !kept[p] {
			d.stop = append(d.stop, p)
		}
	}
	return d, faults
}

func (e *Engine) diffPipeline(pc PipelineConfig, src *source) (pipelineDiff, error) {
	if src == nil {
		return pipelineDiff{}, fmt.Errorf("pipeline %s has no source %q", pc.Name, pc.Source)
	}
	before, _ := e.pipeline(pc.Name)
	d := pipelineDiff{PipelineConfig: pc, source: src, before: before}
	if before == nil || before.templates != pc.Templates || before.sinkType != pc.SinkType {
		if d.template, d.loadError = pc.Templates.Load(); d.loadError != nil && !e.startsWithoutTemplate(pc) {
			return pipelineDiff{}, fmt.Errorf("pipeline %s: %w", pc.Name, d.loadError)
		}
	}
	d.kept = before != nil && before.source == src && before.templates == pc.Templates && before.sink == pc.Sink &&
		before.watched == pc.Inputs
	return d, nil
}

// startsWithoutTemplate reports whether the pipeline can start although its template does not load: the document of an
// earlier run is used. Otherwise restarting the daemon while the template is being edited would end it.
func (e *Engine) startsWithoutTemplate(pc PipelineConfig) bool {
	stored, ok := e.store.AppliedDocument(pc.Name)
	return ok && stored.SinkType == pc.SinkType && e.sources == nil
}

// check renders the newest snapshots with the pipelines that are added or replaced, and has the documents checked.
func (d *configDiff) check(ctx context.Context) error {
	var faults error
	for _, pd := range d.pipelines {
		if snap, ok := pd.source.latest(); ok && !pd.kept {
			if err := pd.check(ctx, snap); err != nil {
				faults = errors.Join(faults, fmt.Errorf("pipeline %s: %w", pd.Name, err))
			}
		}
	}
	return faults
}

func (d *pipelineDiff) check(ctx context.Context, snap sdk.Snapshot) error {
	t := d.template
	var excluded exclude.Set
	if d.before != nil {
		// What is excluded already is no fault of the configuration.
		published := d.before.published.Load()
		excluded = exclude.NewSet(published.Excluded)
		if t == nil {
			t = published.activeTemplate
		}
	}
	if t == nil { // the pipeline before has no template that works, and does not need one now
		return nil
	}
	pass := &exclude.Pass{
		Index: exclude.NewIndex(excluded.Filter(snap)),
		Render: func(ctx context.Context, snap sdk.Snapshot) (sdk.Document, []string, error) {
			files, notes, err := t.Render(ctx, snap)
			if err != nil {
				return sdk.Document{}, nil, &TemplateError{err}
			}
			return sdk.Document{Pipeline: d.Name, Digest: sdk.DigestOf(files), Files: files}, notes, nil
		},
		Apply: func(ctx context.Context, r *exclude.Rendering) error { return d.checkDocument(ctx, r.Document) },
		// An existing pipeline has already excluded what is necessary.
		MayExclude: func(exclude.Set, bool) bool { return d.before == nil },
	}
	pass.SourceMapper, _ = t.(exclude.SourceMapper)
	return pass.Check(ctx)
}

// checkDocument makes the sink check doc. It returns nil if the sink cannot check documents, because Apply will decide.
func (d *pipelineDiff) checkDocument(ctx context.Context, doc sdk.Document) error {
	checker, ok := d.Sink.(sdk.Checker)
	if !ok {
		return nil
	}
	if err := checker.Check(ctx, doc); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// install makes the diff's configuration what the engine runs. Everything that does not keep running must have stopped.
func (e *Engine) install(d *configDiff) {
	next := components{sources: d.sources}
	fed := map[string][]*pipeline{}
	for _, pd := range d.pipelines {
		p := pd.before
		if !pd.kept {
			p = newPipeline(pd.PipelineConfig, pd.template, pd.source, e.log.With("pipeline", pd.Name))
			if pd.before == nil {
				p.history = e.openHistory(pd.Name)
			}
			p.tracer = e.tracer
			if pd.before != nil {
				p.takeOver(pd.before)
			}
			if pd.loadError != nil {
				p.reportLoadError(pd.loadError)
				p.publish()
			}
		}
		next.pipelines = append(next.pipelines, p)
		fed[pd.Source] = append(fed[pd.Source], p)
	}
	own := newOwnAddresses(d.config.Listening)
	for name, s := range next.sources {
		s.connect(d.config.Sources[name], own, fed[name])
	}
	for _, s := range d.removed {
		s.stopTimer()
	}
	e.closeHistories(next)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.components = next
}

// openHistory opens the history of a pipeline that is added. Its numbers go on after that of the stored document, too: the
// history may have lost the last entries.
func (e *Engine) openHistory(pipeline string) *history.Log {
	log := e.store.OpenHistory(pipeline)
	stored, _ := e.store.AppliedDocument(pipeline)
	log.Reserve(stored.Document.Generation)
	return log
}

// closeHistories closes the histories of the pipelines that next does not have.
func (e *Engine) closeHistories(next components) {
	for _, p := range e.pipelines {
		if !slices.ContainsFunc(next.pipelines, func(other *pipeline) bool { return other.name == p.name }) {
			p.history.Close()
		}
	}
}
