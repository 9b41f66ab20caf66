package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Change runs next instead of what runs. Parts are told by what they are: where source, templates, sink and inputs of a pipeline
// are the very same as before (==), it goes on untouched, and so does a source. A source under a name that was there keeps what
// it said last until the new one says more. A pipeline under such a name goes on counting, and its last good document holds
// until there is a better one; but where its sink is of another type, it only goes on counting.
//
// Everything that can be wrong is looked at beforehand: templates load, and what is new renders the newest snapshot to the
// satisfaction of sinks that can check. An error tells all that is wrong, and nothing has changed then.
//
// Once pipelines and sources that do not go on have stopped, handOver is called: nobody uses their sinks then, nor the new ones
// yet. It returns next; or else an error, which Change returns, and what to run instead of it.
//
// Log, Observer and StateStore of next are not looked at. Change waits for Run, which has to be running, and returns an error when
// ctx is done before it has begun.
func (e *Engine) Change(ctx context.Context, next Config, handOver func() (Config, error)) error {
	done := make(chan error, 1)
	select {
	case e.changes <- func() { done <- e.change(ctx, next, handOver) }:
		return <-done
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// change does what Change says but for the start of what is new, in the goroutine of Run.
func (e *Engine) change(ctx context.Context, next Config, handOver func() (Config, error)) error {
	p, err := e.plan(next)
	if err != nil {
		return err
	}
	if err := e.try(ctx, p); err != nil {
		return err
	}
	// Nothing has changed so far, and nothing below can fail but the hand-over.
	e.stop(p.ends)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	run, err := handOver()
	if err != nil {
		instead, unable := e.plan(run)
		if unable != nil { // what ran a moment ago
			return errors.Join(err, unable)
		}
		p = instead
	}
	e.install(p)
	return err
}

// A plan says what is to become of what runs.
type plan struct {
	config  Config
	sources map[string]*source // by name; those of names that are new have no implementation yet
	joins   []join
}

// A join is what is planned for one pipeline.
type join struct {
	PipelineConfig
	source   *source
	before   *pipeline // of the same name; nil for none
	template Template  // loaded anew; nil where before has the same templates, and a sink of the same type
	broken   error     // why it does not load
}

// same reports whether the pipeline that is there goes on as it is.
func (j join) same() bool {
	b := j.before
	return b != nil && b.source == j.source && b.templates == j.Templates && b.sink == j.Sink && b.inputs.watched == j.Inputs
}

// plan loads the templates that are new, and reports all that is wrong.
func (e *Engine) plan(cfg Config) (*plan, error) {
	p := &plan{config: cfg, sources: map[string]*source{}}
	for name := range cfg.Sources {
		p.sources[name] = e.sources[name]
		if p.sources[name] == nil {
			p.sources[name] = &source{name: name, store: e.store, log: e.log.With("source", name), observer: e.observer}
		}
	}
	var faults error
	for _, pc := range cfg.Pipelines {
		src, ok := p.sources[pc.Source]
		if !ok {
			faults = errors.Join(faults, fmt.Errorf("pipeline %s has no source %q", pc.Name, pc.Source))
			continue
		}
		before, _ := e.pipeline(pc.Name)
		j := join{PipelineConfig: pc, source: src, before: before}
		if j.before == nil || j.before.templates != pc.Templates || j.before.sinkType != pc.SinkType {
			if j.template, j.broken = pc.Templates.Load(); j.broken != nil && !e.outlasts(pc) {
				faults = errors.Join(faults, fmt.Errorf("pipeline %s: %w", pc.Name, j.broken))
				continue
			}
		}
		p.joins = append(p.joins, j)
	}
	return p, faults
}

// outlasts reports whether the pipeline can start without a template that loads: an earlier run left behind what was in effect.
// Whoever edits the template while the daemon is restarted would end it otherwise.
func (e *Engine) outlasts(pc PipelineConfig) bool {
	was, kept := e.store.AppliedDocument(pc.Name)
	return kept && was.SinkType == pc.SinkType && e.sources == nil
}

// ends reports whether t does not go on.
func (p *plan) ends(t task) bool {
	switch t := t.(type) {
	case *source:
		return p.config.Sources[t.name].Source != t.implementation()
	case *pipeline:
		return !slices.ContainsFunc(p.joins, func(j join) bool { return j.before == t && j.same() })
	}
	return false
}

// try renders the newest snapshots with what is new and has the documents checked.
func (e *Engine) try(ctx context.Context, p *plan) error {
	var faults error
	for _, j := range p.joins {
		if snap, ok := j.source.latest(); ok && !j.same() {
			if err := j.try(ctx, snap); err != nil {
				faults = errors.Join(faults, fmt.Errorf("pipeline %s: %w", j.Name, err))
			}
		}
	}
	return faults
}

func (j join) try(ctx context.Context, snap sdk.Snapshot) error {
	t := j.template
	var excluded exclude.Set
	if j.before != nil {
		// What is excluded already is no fault of the configuration.
		excluded = exclude.NewSet(j.before.report().Excluded)
		if t == nil {
			t = j.before.board.activeTemplate()
		}
	}
	if t == nil { // the one before has not proved itself, and does not have to now
		return nil
	}
	pass := &exclude.Pass{
		Index: exclude.NewIndex(excluded.Without(snap)),
		Render: func(ctx context.Context, snap sdk.Snapshot) (sdk.Document, []string, error) {
			files, notes, err := t.Render(ctx, snap)
			if err != nil {
				return sdk.Document{}, nil, &TemplateError{err}
			}
			return sdk.Document{Pipeline: j.Name, Digest: sdk.DigestOf(files), Files: files}, notes, nil
		},
		Apply: func(ctx context.Context, r *exclude.Rendering) error { return j.check(ctx, r.Document) },
		// A pipeline that exists already excludes what it has to. A new one may exclude what it finds.
		MayExclude: func(exclude.Set, bool) bool { return j.before == nil },
	}
	pass.SourceMapper, _ = t.(exclude.SourceMapper)
	return pass.Check(ctx)
}

// check has the sink check doc, if it can.
func (j join) check(ctx context.Context, doc sdk.Document) error {
	checker, ok := j.Sink.(sdk.Checker)
	if !ok {
		return nil
	}
	if err := checker.Check(ctx, doc); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil // Apply decides
}

// install makes the plan what the engine runs. All that does not go on has to be stopped.
func (e *Engine) install(p *plan) {
	next := set{sources: p.sources}
	fed := map[string][]*pipeline{}
	for _, j := range p.joins {
		pipe := j.before
		if !j.same() {
			pipe = newPipeline(j.PipelineConfig, j.template, j.source, e.log.With("pipeline", j.Name))
			if j.before != nil {
				pipe.succeed(j.before)
			}
			if j.broken != nil {
				pipe.refuse(j.broken)
			}
		}
		next.pipelines = append(next.pipelines, pipe)
		fed[j.Source] = append(fed[j.Source], pipe)
	}
	own := newOwnAddresses(p.config.Listening)
	for name, s := range next.sources {
		s.connect(p.config.Sources[name], own, fed[name])
	}
	for name, s := range e.sources {
		if next.sources[name] == nil {
			s.stopTimer()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set = next
}

// succeed takes over from a pipeline that has stopped what still holds.
func (p *pipeline) succeed(before *pipeline) {
	p.resumed.raise()
	p.ledger, p.generation, p.digest = before.ledger, before.generation, before.digest
	if p.sinkType != before.sinkType {
		return // what was good there would be nonsense here
	}
	p.active, p.accepted = before.active, before.accepted
	p.board.inherit(&before.board)
	p.fault, p.inputs.fault = before.fault, before.inputs.fault
	if p.templates == before.templates {
		p.candidate, p.previous, p.dropped = before.candidate, before.previous, before.dropped
	} else {
		_ = p.board.setTemplateError(nil)
	}
	if p.sink == before.sink {
		p.inEffect, p.owed = before.inEffect, before.owed
		if before.inputs.pending {
			p.reread(before.inputs.cause)
		}
		return
	}
	for _, v := range []*version{p.active, p.candidate} {
		if v != nil {
			v.loadFailure = "" // the sink may have been replaced to repair its cause
		}
	}
	p.startAnew()
}
