package engine

import (
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
)

// PipelineStatus is the status of a pipeline at one moment.
type PipelineStatus struct {
	Name             string
	Source           string
	Sink             string              // see [PipelineConfig.SinkName]
	SinkType         string              // see [PipelineConfig.SinkType]
	Paths            []string            // see [PipelineConfig.Paths]
	Generation       uint64              // of the applied document; 0 for none
	Digest           string              // of the applied document
	Since            time.Time           // since when it is in effect; applying it again does not change that
	TemplateError    error               // why the newest template is not used
	ApplyError       error               // why the newest snapshot is not applied
	InputsError      error               // why changed files that the sink reads beside the document are not loaded
	Notes            []string            // of the template about the newest snapshot
	Nondeterministic []string            // where the active template renders the same snapshot differently each time
	Excluded         []exclude.Exclusion // what the document was rendered without
	Quarantined      []Quarantined       // of the source's newest snapshot, before any template gets it
	Dropped          []Quarantined       // instances of that snapshot that templates get without some of their values
	Applying         time.Time           // since when the sink has been busy with a document; zero if it is not
	Pending          *Pending            // why the newest document waits; nil if it does not
	Held             *Held               // why the newest snapshot of the source is not used yet; nil if it is
	StaleSince       time.Time           // when the snapshot in use was taken, if it is of an earlier run; otherwise zero
	LastSuccess      time.Time           // when the pipeline last reconciled and was in sync; zero for never
	InSync           bool                // what the newest snapshot and the saved template render to is in effect

	Last       *history.Change // the newest entry of the history; nil for none
	LastChange *history.Change // see [history.Log.LastChange]
	LastReload *history.Change // see [history.Log.LastReload]
}

// A publishedStatus is what other goroutines read of a pipeline's state. It is immutable.
type publishedStatus struct {
	PipelineStatus
	activeTemplate Template // nil for none
}

// publish makes the state visible to other goroutines. The pipeline's goroutine calls it before and after each call of the
// sink, before other work that may take long, and when it has reconciled.
func (p *pipeline) publish() {
	next := &publishedStatus{PipelineStatus: p.state.status}
	next.InSync = p.state.isSettled()
	if p.state.active != nil {
		next.activeTemplate = p.state.active.template
	}
	p.published.Store(next)
	p.observer.StatusChanged(p.name)
}

// isSettled reports whether the document that the newest snapshot and the saved template render to is in effect, as far as the
// pipeline knows.
func (s *pipelineState) isSettled() bool {
	return s.applied != nil && s.inSync && s.pending == nil && s.candidate == nil && s.status.Applying.IsZero() &&
		s.status.TemplateError == nil && s.status.ApplyError == nil && s.status.InputsError == nil
}

// status returns the published status with the parts that the pipeline's source and its history know.
func (p *pipeline) status() PipelineStatus {
	status := p.published.Load().PipelineStatus
	status.Name, status.Source, status.Paths = p.name, p.source.name, p.paths
	status.Sink, status.SinkType = p.sinkName, p.sinkType
	p.source.addStatus(&status)
	status.InSync = status.InSync && status.Held == nil
	status.LastChange, status.LastReload = p.history.LastChange(), p.history.LastReload()
	if newest, _ := p.history.List(0, 1); len(newest) > 0 {
		status.Last = &newest[0]
	}
	return status
}
