package haproxy

import (
	"context"
	"path/filepath"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// adoptTimeout bounds adopt.
const adoptTimeout = time.Second

// ready starts the supervisor and the persist loop at the first call, and adopts the HAProxy that runs once the lock on its files
// is held. Until then it returns an error, and nothing may be touched.
func (s *Sink) ready(ctx context.Context) error {
	s.begin.Do(func() {
		s.background.Go(s.supervise)
		s.background.Go(func() {
			ctx, release := s.contextUntilStop(context.Background())
			defer release()
			s.persistLoop(ctx)
		})
	})
	if err := s.fileLock.Ensure(); err != nil {
		return err
	}
	s.adopting.Do(func() { s.adopt(ctx) })
	return nil
}

// adopt finds out which HAProxy runs, and whether it serves what the previous process applied.
func (s *Sink) adopt(ctx context.Context) {
	// The result counts for all later callers, so the first one must not cancel it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptTimeout)
	defer cancel()
	s.change.Lock()
	defer s.change.Unlock()
	left, have := readStateFile(s.paths.state)
	s.paths.removeTemporary(left)
	s.companions.load(left, s.paths.ConfigFile)
	var doc *document
	if have {
		if files, ok := left.load(s.paths); ok {
			doc = parseDocument(files, nil)
			doc.generation = left.Generation
		}
		s.update(func(st *state) { st.expect(doc) })
	}
	now, err := s.controller.Find(ctx)
	s.checkConflicts(now)
	switch {
	case err != nil:
		s.starting.Warn(s.log, "cannot tell whether HAProxy runs", err)
		s.update(func(st *state) { st.startErr = err })
	case now.None():
		s.log.Info("no HAProxy runs", "file", s.paths.PidFile)
	case doc != nil && left.isFor(now) && left.inEnvironment(doc) && s.serves(ctx, now, doc):
		s.log.Info("adopted the running HAProxy", pidAttrs(now)...)
		s.update(func(st *state) {
			st.loaded = &loadedInputs{left.Inputs, left.Watched}
			st.apply(doc, now)
		})
	default:
		s.log.Info("adopted a running HAProxy; what it serves is unknown", pidAttrs(now)...)
		s.update(func(st *state) { st.apply(nil, now) })
	}
}

// serves reports whether the servers of the HAProxy in now are those of doc. The process before this one may have ended after a
// runtime change and before it wrote the file. Servers that cannot be read cannot have been changed either.
func (s *Sink) serves(ctx context.Context, now process.Instance, doc *document) bool {
	if _, err := s.controller.Endpoint(now); err != nil || !s.cfg.Runtime {
		return true
	}
	difference, err := s.clientFor(now).FirstNeededCommand(ctx, doc.config)
	if runtimeapi.IsUnsupported(err) {
		return true
	}
	if err != nil {
		s.log.Warn("cannot tell what the running HAProxy serves", "error", err)
	} else if difference != "" {
		s.log.Warn("the running HAProxy differs from its configuration file", "command", difference)
	}
	return err == nil && difference == ""
}

// removeTemporary removes the temporary files that a crash during a change has left.
func (p paths) removeTemporary(left stateFile) {
	written := []string{p.ConfigFile, p.state, p.BaseFile, p.PidFile}
	for name := range left.companions(p.ConfigFile) {
		written = append(written, filepath.Join(p.dir(), name))
	}
	replace.RemoveTemporary(p.ConfigFile, written...)
}
