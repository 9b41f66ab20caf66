package engine

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// handleLost records that the sink no longer has the document that it applied, and has restored an older one by itself.
//
// If the sink's program did not keep running with the document, the document is not applied again for a while. If no document of
// the active template has stayed applied since that template replaced another one, the template is at fault, and the previous one
// becomes active again.
//
// If the sink has applied a newer document meanwhile, that one stays applied: the event was under way during the Apply.
func (p *pipeline) handleLost(lost sdk.Lost) {
	s := &p.state
	if s.inSync && lost.Digest != "" && lost.Digest != s.applied.document.Digest {
		p.log.Warn("the sink lost a configuration that has been replaced since", "error", lost.Err)
		return
	}
	p.state.fault.Error(p.log, "the sink no longer has the applied configuration", lost.Err,
		"restored_generation", lost.Generation)
	before := s.applied
	s.applied, s.inSync, s.pending = nil, false, nil
	p.source.store.SaveAppliedDocument(p.name, AppliedDocument{SinkType: p.sinkType}) // a restart must not apply it either
	s.status.Generation, s.status.Digest, s.status.Since = lost.Generation, "", time.Now()
	if before == nil {
		return
	}
	p.recordLost(before, lost)
	switch {
	case !isNotLoaded(lost.Err) || s.active == nil:
	case s.previous != nil && lost.Generation < s.active.firstGeneration:
		p.reportTemplateError(s.active, lost.Err)
		s.active, s.previous, s.candidateAbandoned = s.previous, nil, s.candidate == nil
	default:
		s.active.rejected, s.active.rejection, s.active.loadFailure = before.document.Digest, lost.Err, lost.Err.Error()
	}
}

// scheduleLoad reports err, with which the sink failed to load the newest document, and returns when to try again. A first
// template is not tried again by itself while the document of an earlier run is applied: it may have been edited while the
// daemon was down.
func (p *pipeline) scheduleLoad(err error) schedule {
	if p.state.active == nil && p.state.applied != nil {
		p.reportFault(fmt.Errorf("%w; save the template or request apply to try again", err))
		return schedule{}
	}
	wait := p.state.loads.next()
	p.reportFault(err, "retry_in", wait.Round(time.Second))
	return in(wait)
}

// A loadRetry says when a document that the sink failed to load may be applied again. Newer documents do not delay that.
type loadRetry struct {
	backoff   *backoff.ExponentialBackOff
	at        time.Time // zero if nothing failed to load
	requested bool      // a person requested it or saved the template
}

func newLoadRetry() loadRetry { return loadRetry{backoff: newBackOff(20*time.Second, 10*time.Minute)} }

// due reports whether the next attempt may interrupt what the sink manages.
func (l *loadRetry) due() bool { return l.requested || !l.at.IsZero() && !time.Now().Before(l.at) }

// next returns the time until the next attempt, after one that failed or was not due.
func (l *loadRetry) next() time.Duration {
	if l.at.IsZero() || l.due() {
		l.at = time.Now().Add(l.backoff.NextBackOff())
	}
	return time.Until(l.at)
}

func (l *loadRetry) reset() {
	l.at = time.Time{}
	l.backoff.Reset()
}
