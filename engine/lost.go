package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// handleLost takes note that the sink no longer has what it reported as applied, and has put an older document back by itself.
//
// Where the program of the sink did not stay up with the document, the document is not offered again for a while. If no document
// of the active template has stayed in effect since that template replaced another one, the template is at fault, and the one
// before it is active again.
//
// Where the sink has applied a newer document meanwhile, that one stays in effect: the event was on its way during the Apply.
func (p *pipeline) handleLost(lost sdk.Lost) {
	if p.inEffect != nil && lost.Digest != "" && lost.Digest != p.inEffect.document.Digest {
		p.log.Warn("the sink lost a configuration that has been replaced since", "error", lost.Err)
		return
	}
	p.log.Error("the sink no longer has the applied configuration", "error", lost.Err, "generation_in_effect", lost.Generation)
	was := p.accepted
	p.inEffect, p.accepted, p.owed = nil, nil, nil
	p.source.store.SaveAppliedDocument(p.name, AppliedDocument{SinkType: p.sinkType}) // a restart must not apply it either
	p.board.setLost(lost.Generation)
	if was == nil {
		return
	}
	p.ledger.add(Entry{
		Pipeline: p.name, Generation: was.document.Generation, Digest: was.document.Digest, Trigger: TriggerLost,
		Received: was.snapshot.Taken, Offered: time.Now(), Err: lost.Err,
	})
	switch {
	case !isNotLoaded(lost.Err) || p.active == nil:
	case p.previous != nil && lost.Generation < p.active.first:
		p.blame(p.active, lost.Err)
		p.active, p.previous, p.dropped = p.previous, nil, p.candidate == nil
		p.board.setActive(p.active.template)
	default:
		p.active.refused, p.active.refusal, p.active.loadFailure = was.document.Digest, lost.Err, lost.Err.Error()
	}
}

// waitToLoad returns when to try the newest document again that the sink failed to load. A template that was not active yet while
// the document of an earlier run is in effect is not tried again by itself: it may have been edited while the daemon was down.
func (p *pipeline) waitToLoad(err error) (time.Duration, bool) {
	if p.active == nil && p.accepted != nil {
		p.reportFault(fmt.Errorf("%w; it is tried again when the template is saved or apply is requested", err))
		return 0, false
	}
	wait := p.loads.wait()
	p.reportFault(err, "again_in", wait.Round(time.Second))
	return wait, true
}

// A loadRetry says when a document that the sink failed to load may be tried again. Newer documents do not put that off.
type loadRetry struct {
	backoff   *backoff.ExponentialBackOff
	at        time.Time // zero while there is nothing to try again
	requested bool      // a person asked for it, or saved the template
}

func newLoadBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 20*time.Second, 10*time.Minute
	return b
}

// request makes the next try due.
func (l *loadRetry) request() { l.requested = true }

// due reports whether the next try may interrupt what the sink manages.
func (l *loadRetry) due() bool { return l.requested || !l.at.IsZero() && !time.Now().Before(l.at) }

// wait returns the time until the next try, after one that failed.
func (l *loadRetry) wait() time.Duration {
	if l.at.IsZero() || l.due() {
		l.at = time.Now().Add(l.backoff.NextBackOff())
	}
	return time.Until(l.at)
}

func (l *loadRetry) reset() {
	l.at = time.Time{}
	l.backoff.Reset()
}

// isNotLoaded reports whether trying the document has interrupted what the sink manages.
func isNotLoaded(err error) bool {
	return errors.Is(err, sdk.ErrNotLoaded)
}
