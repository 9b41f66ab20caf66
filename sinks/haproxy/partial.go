package haproxy

import (
	"context"
	"fmt"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A partial update applies the part of a document that needs no reload, while the reload is deferred, fails, or waits for host
// names: the servers of the backends that both documents have.

// beforeReload makes a partial update if the reload that doc needs has to wait. The reload does not wait if HAProxy does not run
// or the served document is unknown. The fileChange is what remains to be done. The caller holds s.change.
func (s *Sink) beforeReload(
	ctx context.Context, now process.Instance, doc *document, reason string,
) (sdk.Result, *fileChange, error) {
	st := s.state.Load()
	hadFailed := st.failedLoad.doc != nil // in this process
	applied, failed := st.applied(now), s.failedBefore(doc)
	if applied == nil && failed != nil && hadFailed && st.desired != nil {
		return sdk.Result{}, nil, failed // the supervisor makes HAProxy load the desired document
	}
	if applied == nil || failed == nil && s.reloadLimit.wait() == 0 {
		return sdk.Result{}, &fileChange{reload: reason}, nil
	}
	s.partialUpdate(ctx, now, applied, doc)
	if failed != nil {
		return sdk.Result{}, nil, failed
	}
	// A document that differs from the one that waits only by what can be changed at run time has passed the check as well.
	if st.waitingReload != nil && planChange(st.waitingReload, doc).need != needReload {
		return sdk.Result{}, nil, s.deferred(reason)
	}
	return sdk.Result{}, &fileChange{reload: reason, rateLimited: true}, nil
}

// deferReload returns an error if it is too soon for the reload that doc needs. doc has passed the check.
func (s *Sink) deferReload(doc *document, reason string) error {
	s.change.Lock()
	defer s.change.Unlock()
	if s.reloadLimit.wait() == 0 {
		return nil
	}
	s.update(func(st *state) { st.waitingReload = doc })
	return s.deferred(reason)
}

func (s *Sink) deferred(reason string) error {
	return sdk.Deferred(fmt.Sprintf("reload deferred by reload_interval: the last one was less than %v ago (%s)",
		s.cfg.ReloadInterval, reason), s.reloadLimit.wait())
}

// updatePartially makes a partial update of the HAProxy that runs. The caller holds s.change.
func (s *Sink) updatePartially(ctx context.Context, doc *document) {
	st := s.state.Load()
	if applied := st.applied(st.running); applied != nil {
		s.partialUpdate(ctx, st.running, applied, doc)
	}
}

// lockAndUpdatePartially is updatePartially for a caller that does not hold s.change. Only Stop interrupts it.
func (s *Sink) lockAndUpdatePartially(ctx context.Context, doc *document) {
	ctx, release := s.contextUntilStop(ctx)
	defer release()
	s.change.Lock()
	defer s.change.Unlock()
	s.updatePartially(ctx, doc)
}

func (s *Sink) partialUpdate(ctx context.Context, now process.Instance, applied, doc *document) {
	if !s.cfg.Runtime {
		return
	}
	client := s.clientFor(now)
	const attempts = 3 // each without the backends that HAProxy has refused to change by then
	for range attempts {
		content, differs := syntax.PartialUpdate(applied.config, doc.config, func(backend string) bool {
			return client.Refused(backend) != "" || s.awaitsHostnames(applied.config, doc.config, backend)
		})
		if !differs {
			return
		}
		partial := applied.with(content)
		p := planChange(applied, partial)
		if p.need != needRuntime || !s.passesVerifyCmd(ctx, partial) {
			return
		}
		err := s.changeServers(ctx, now, partial, p.backends)
		if err == nil {
			s.partial.Resolve(s.log, "servers are changed before reloads again")
			s.log.Debug("changed servers before the reload", "reason", p.reason)
			return
		}
		s.partial.Warn(s.log, "cannot change servers before the reload", err)
		if runtimeapi.IsUnsupported(err) || s.state.Load().applied(now) != applied {
			return
		}
	}
}

// passesVerifyCmd reports whether verify_cmd, if there is one, accepts doc.
func (s *Sink) passesVerifyCmd(ctx context.Context, doc *document) bool {
	if s.cfg.VerifyCmd == "" {
		return true
	}
	staged, _, err := s.stageAndCheck(ctx, doc, false)
	if err != nil {
		return false
	}
	staged.Discard()
	return true
}
