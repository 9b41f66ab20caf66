package engine

import (
	"context"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

// restore takes over what an earlier run of the daemon applied: its generation, and its document as the last applied one. The
// document is applied again if the template and the snapshot do not make one that the sink accepts.
func (p *pipeline) restore(ctx context.Context) {
	stored, ok := p.source.store.AppliedDocument(p.name)
	if ok && stored.SinkType != p.sinkType {
		return
	}
	p.supersedeAgain()
	s := &p.state
	s.generation, s.digest = stored.Document.Generation, stored.Document.Digest
	// A newer document was not applied, or that was not stored any more. If it is rendered again, its entry goes on.
	if c, ok := p.newestDocument(); ok && c.Document > s.generation {
		s.generation, s.digest = c.Document, c.Digest
	}
	if stored.Document.Digest == "" {
		return
	}
	p.history.PutDocument(stored.Document)
	snap, known := p.source.latest()
	s.applied = &rendered{snapshot: snap, document: stored.Document, excluded: stored.Excluded}
	if !known {
		s.cause = causeNow(history.TriggerStart, "")
		p.applyRestored(ctx)
		p.publish()
	}
}

// applyRestored applies the document of an earlier run, if this one has not applied any yet.
func (p *pipeline) applyRestored(ctx context.Context) {
	s := &p.state
	if s.active == nil && !s.inSync && s.applied != nil && s.pending == nil {
		p.reapply(ctx)
	}
}

// takeOver continues where before stopped, which had the same name. What it takes over depends on what the two have in common.
func (p *pipeline) takeOver(before *pipeline) {
	p.resumed.raise()
	s, old := &p.state, &before.state
	p.history, s.generation, s.digest = before.history, old.generation, old.digest
	s.inputs.entry = old.inputs.entry
	p.supersedeReread()
	s.fault, s.templateFault, s.inputs.fault = old.fault, old.templateFault, old.inputs.fault
	if p.sinkType != before.sinkType {
		return // its documents mean nothing to this sink
	}
	s.active, s.applied = old.active, old.applied
	s.status = old.status
	s.status.ApplyError, s.status.InputsError, s.status.Pending = nil, nil, nil // the next attempt may succeed
	if p.templates == before.templates {
		s.candidate, s.previous, s.candidateAbandoned = old.candidate, old.previous, old.candidateAbandoned
	} else {
		s.status.TemplateError = nil
	}
	if p.sink == before.sink {
		s.inSync, s.pending = old.inSync, old.pending
		if old.inputs.pending {
			p.scheduleReread(old.inputs.cause)
		}
	} else {
		for _, v := range []*version{s.active, s.candidate} {
			if v != nil {
				v.loadFailure = "" // the sink may have been replaced to fix the cause
			}
		}
		p.forgetRejections()
	}
	p.publish()
}
