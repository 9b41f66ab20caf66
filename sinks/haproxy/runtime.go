package haproxy

import (
	"context"
	"errors"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// applyLive does what can be done without loading a file, and says what is left; nil is for nothing.
func (s *Sink) applyLive(ctx context.Context, doc *document) (sdk.Result, *remainder, error) {
	if err := s.checkFirst(ctx, doc); err != nil {
		return sdk.Result{}, nil, err
	}
	if err := s.rollBackEnded(ctx); err != nil {
		return sdk.Result{}, nil, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if ctx.Err() != nil {
		return sdk.Result{}, nil, interrupted(context.Cause(ctx))
	}
	wanted := ctx
	ctx, release := s.untilStopped(ctx)
	defer release()
	p, now := s.plan(ctx, doc)
	if p.need == needRuntime && s.lookUpAdded(wanted, now, doc, p.backends) {
		if wanted.Err() != nil {
			return sdk.Result{}, nil, interrupted(context.Cause(wanted))
		}
		p, now = s.plan(ctx, doc) // anything may have happened meanwhile
	}
	switch p.need {
	case needNothing:
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: p.reason}, nil, nil
	case needWrite:
		return sdk.Result{}, &remainder{}, nil
	case needRuntime:
		did, err := s.runtime(ctx, now, doc, p.backends)
		if err == nil {
			return sdk.Result{Action: sdk.ActionRuntime, Reason: p.reason, Details: did}, nil, nil
		}
		p.reason += ": not at run time, because " + err.Error()
	}
	return s.beforeReload(ctx, now, doc, p.reason)
}

// beforeReload brings the servers of standing backends into effect where it is too soon for the reload that doc needs. A
// HAProxy that does not run, or runs nobody knows what, does not wait.
func (s *Sink) beforeReload(ctx context.Context, now running, doc *document, reason string) (sdk.Result, *remainder, error) {
	st := s.state.Load()
	seen := st.failedLoad.doc != nil // to fail to load, by this process
	inEffect, failed := st.applied(now), s.failedBefore(doc)
	if inEffect == nil && failed != nil && seen && st.desired != nil {
		return sdk.Result{}, nil, failed // HAProxy is made to load what was last in effect; see supervisor
	}
	if inEffect == nil || failed == nil && s.pace.wait() == 0 {
		return sdk.Result{}, &remainder{reason: reason}, nil
	}
	result := sdk.Result{Details: s.bridge(ctx, now, inEffect, doc)}
	if failed != nil {
		return result, nil, failed
	}
	// What differs from a document that waits already only by what can be changed at run time has passed the check as well.
	if st.waitingReload != nil && compare(st.waitingReload, doc).need != needReload {
		return result, nil, s.deferred(reason)
	}
	return result, &remainder{reason, true}, nil
}

// updatePartially brings into effect what needs no reload, in the HAProxy that runs, and returns the commands that it took.
func (s *Sink) updatePartially(ctx context.Context, doc *document) []string {
	st := s.state.Load()
	if inEffect := st.applied(st.running); inEffect != nil {
		return s.bridge(ctx, st.running, inEffect, doc)
	}
	return nil
}

// bridge brings into effect what needs no reload, and returns the commands that it took.
func (s *Sink) bridge(ctx context.Context, now running, inEffect, doc *document) []string {
	if !s.cfg.Runtime {
		return nil
	}
	client := s.clientFor(now)
	const attempts = 3 // each without the backends that HAProxy has refused to change by then
	for range attempts {
		content, differs := syntax.Bridge(inEffect.config, doc.config, func(backend string) bool {
			return client.Refused(backend) != "" || s.awaitsHostnames(inEffect.config, doc.config, backend)
		})
		if !differs {
			return nil
		}
		half := inEffect.with(content)
		p := compare(inEffect, half)
		if p.need != needRuntime || !s.verified(ctx, half) {
			return nil
		}
		did, err := s.runtime(ctx, now, half, p.backends)
		if err == nil {
			s.log.Info("the servers of standing backends do not wait for the reload", "reason", p.reason)
			return did
		}
		s.log.Warn("servers wait for the reload as well", "error", err)
		if runtimeapi.IsUnsupported(err) {
			return nil
		}
		if s.state.Load().applied(now) != inEffect {
			return nil
		}
	}
	return nil
}

// verified asks a verify command of the user's, if there is one, about what is to run until the reload.
func (s *Sink) verified(ctx context.Context, doc *document) bool {
	if s.cfg.VerifyCmd == "" {
		return true
	}
	st, _, err := s.vet(ctx, doc, false)
	if err != nil {
		return false
	}
	st.Discard()
	return true
}

// runtime changes the servers of the HAProxy that serves to those of doc, or back to those before. Where neither can be
// seen to have worked, what it serves is not known any more, and a reload has to help.
func (s *Sink) runtime(ctx context.Context, now running, doc *document, backends []string) ([]string, error) {
	if !s.cfg.Runtime {
		return nil, errors.New("that is switched off in the configuration")
	}
	before := s.state.Load().applied(now)
	client := s.clientFor(now)
	if answer := client.Refused(backends...); answer != "" {
		return nil, &runtimeapi.RefusedError{Reason: answer}
	}
	did, err := client.Reconcile(ctx, before.config, doc.config, backends)
	if err == nil {
		s.update(func(st *state) {
			st.desired, st.offered, st.revertErr = doc, true, nil
			st.runtimeChanges++
		})
		s.requestPersist()
		return did, nil
	}
	if len(did) > 0 {
		if _, undoing := client.Reconcile(ctx, doc.config, before.config, backends); undoing != nil {
			s.log.Warn("a change at run time could not be undone", "error", undoing)
			s.update(func(st *state) { st.invalidate(now) })
		}
	}
	return nil, err
}

// checkFirst has doc checked before servers are changed where the check may refuse that: a verify command of the user's may judge
// more than HAProxy does, and after a change was taken back the check may go on to refuse.
func (s *Sink) checkFirst(ctx context.Context, doc *document) error {
	if !s.cfg.Runtime {
		return nil
	}
	if s.cfg.VerifyCmd == "" && !s.state.Load().checkFirst {
		return nil
	}
	if p, _ := s.plan(ctx, doc); p.need != needRuntime { // what is loaded from the file is checked before it is put in place
		return nil
	}
	st, _, err := s.vet(ctx, doc, false)
	if err != nil {
		return err
	}
	st.Discard()
	s.lockedUpdate(func(st *state) { st.checkFirst = false })
	return nil
}
