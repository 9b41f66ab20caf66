package engine

import (
	"context"
	"log/slog"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// loadTemplate makes the template set as it is on disk the candidate. If it does not load, there is no candidate, because
// the file no longer has the previous one.
func (p *pipeline) loadTemplate() {
	s := &p.state
	s.candidate, s.candidateAbandoned = nil, false
	t, err := p.templates.Load()
	if err != nil {
		p.reportLoadError(err)
		return
	}
	s.candidate = newVersion(t)
}

// promoteCandidate makes the candidate active, whose document was applied.
func (p *pipeline) promoteCandidate() {
	s := &p.state
	s.previous, s.active, s.candidate = s.active, s.candidate, nil
	s.active.firstGeneration = s.generation
	s.status.TemplateError = nil
	s.templateFault.Resolve(p.log, "template accepted again")
}

// forgetRejections makes the pipeline apply documents again that the sink rejected, and include what is excluded. It keeps
// documents that failed to load, unless a retry was requested. It reports whether anything was excluded.
func (p *pipeline) forgetRejections() bool {
	s := &p.state
	excluded := false
	for _, v := range []*version{s.active, s.candidate} {
		if v == nil {
			continue
		}
		excluded = excluded || len(v.excluded) > 0
		v.excluded = nil
		if !isNotLoaded(v.rejection) || s.loads.requested {
			v.rejected, v.rejection = "", nil
		}
	}
	return excluded
}

func (p *pipeline) reportLoadError(err error) {
	p.state.status.TemplateError = err
	p.observer.TemplateRefused(p.name)
	p.state.templateFault.Error(p.log, "template not used", err)
}

// reportTemplateError logs once that v is not used.
func (p *pipeline) reportTemplateError(v *version, err error) {
	p.state.status.TemplateError = err
	p.observeRefusal(v)
	if !v.logged {
		v.logged = true
		p.state.templateFault.Error(p.log, "template not used", err)
	}
}

// observeRefusal passes to the observer, once, that v was refused.
func (p *pipeline) observeRefusal(v *version) {
	if !v.refused {
		v.refused = true
		p.observer.TemplateRefused(p.name)
	}
}

// A NondeterminismReporter is a [Template] that can find out where it renders the same snapshot differently each time.
type NondeterminismReporter interface {
	Template
	// NondeterministicLines returns a message about each such line. It may take as long as several renderings.
	NondeterministicLines(ctx context.Context, snap sdk.Snapshot) ([]string, error)
}

// reportNondeterminism finds the nondeterministic lines of a template that has become active, and logs those that are new.
func (p *pipeline) reportNondeterminism(ctx context.Context, t Template, snap sdk.Snapshot) {
	var found []string
	if f, ok := t.(NondeterminismReporter); ok {
		found, _ = f.NondeterministicLines(ctx, snap) // on an error nothing is reported
	}
	before := p.state.status.Nondeterministic
	p.state.status.Nondeterministic = found
	p.reportTexts(slog.LevelWarn, "the template is nondeterministic", before, found)
	if len(before) > 0 && len(found) == 0 {
		p.log.Info("the template is deterministic again")
	}
}

// A TemplateError says that a template could not render a snapshot.
type TemplateError struct{ Err error }

func (e *TemplateError) Error() string { return e.Err.Error() }

// Unwrap returns the template's own error.
func (e *TemplateError) Unwrap() error { return e.Err }
