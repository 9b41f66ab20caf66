package haproxy

import (
	"context"
	"fmt"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// correctLoaded reads which servers the HAProxy runs that has just loaded doc, and makes them what doc says where they
// differ. It returns the commands that it took, and what could not be corrected, for people.
//
// A worker that was just started need not run what its file says: a server-state file
// (load-server-state-from-file) gives it the addresses, ports, weights and states that the servers had at another time. doc
// wins, as it does over what anybody changes at run time.
func (s *Sink) correctLoaded(ctx context.Context, doc *document, now process.Instance) []string {
	if _, err := s.controller.Endpoint(now); err != nil || doc == nil {
		return nil // nobody can ask
	}
	s.clientFor(now)
	did, err := s.reconcileLoaded(ctx, doc)
	if len(did) > 0 {
		s.log.Warn("HAProxy started with other servers than its configuration says, and they were corrected", "commands", did)
	}
	if err != nil && !runtimeapi.IsRefused(err) && !runtimeapi.IsUnsupported(err) { // the next observation finds what differs
		s.log.Warn("cannot read which servers HAProxy started with", "error", err)
		return did
	}
	if runtimeapi.IsUnsupported(err) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("HAProxy started with other servers than its configuration says: %w", err)
		did = append(did, err.Error())
	}
	s.stray(err)
	return did
}

// stray notes what HAProxy runs that it should not, and a reload has not helped; nil where there is nothing.
func (s *Sink) stray(err error) {
	s.update(func(st *state) { st.driftErr = err })
	if err != nil {
		s.straying.Error(s.log, "HAProxy's servers cannot be corrected", err)
	} else {
		s.straying.Resolve(s.log, "HAProxy's servers are those of its configuration again")
	}
}

// reconcileLoaded only reads where changes at run time are switched off.
func (s *Sink) reconcileLoaded(ctx context.Context, doc *document) ([]string, error) {
	if s.cfg.Runtime {
		return s.client.Reconcile(ctx, doc.config, doc.config, doc.config.Backends())
	}
	differs, err := s.client.Difference(ctx, doc.config)
	if differs != "" {
		err = &runtimeapi.RefusedError{Reason: "changes at run time are switched off, and it would take " + differs}
	}
	return nil, err
}
