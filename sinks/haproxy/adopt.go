package haproxy

import (
	"context"
	"fmt"
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
	default:
		if why := s.whyNotServed(ctx, now, doc, left, have); why != "" {
			s.log.Info("adopted a running HAProxy; what it serves is unknown", append(pidAttrs(now), "reason", why)...)
			s.update(func(st *state) {
				st.apply(nil, now)
				st.unknown = why
			})
			return
		}
		s.log.Info("adopted the running HAProxy", pidAttrs(now)...)
		s.update(func(st *state) {
			st.loaded = &loadedInputs{left.Inputs, left.Watched}
			st.apply(doc, now)
		})
	}
}

// whyNotServed returns why the HAProxy in now is not known to serve doc, which the previous process has recorded, or "" if it
// does. doc is nil if the files on disk are not those that were recorded.
func (s *Sink) whyNotServed(ctx context.Context, now process.Instance, doc *document, left stateFile, have bool) string {
	switch {
	case !have:
		return "no state file says which files it has loaded"
	case !left.isFor(now):
		return "it was started or reloaded while haproxy-api did not run"
	case doc == nil:
		return "its files were changed while haproxy-api did not run"
	case !left.inEnvironment(doc):
		return "environment variables in its configuration have other values than when it was started"
	}
	return s.differenceAtStart(ctx, now, doc)
}

// differenceAtStart returns in what the servers of the HAProxy in now differ from those of doc, or "" if they do not. The process
// before this one may have ended after a runtime change and before it wrote the file. Servers that cannot be read cannot have
// been changed either.
func (s *Sink) differenceAtStart(ctx context.Context, now process.Instance, doc *document) string {
	if _, err := s.controller.Endpoint(now); err != nil || !s.cfg.Runtime {
		return ""
	}
	command, err := s.clientFor(now).FirstNeededCommand(ctx, doc.config)
	switch {
	case runtimeapi.IsUnsupported(err):
		return ""
	case err != nil:
		return "its servers cannot be read or changed: " + err.Error()
	case command != "":
		return fmt.Sprintf("its servers differ from its configuration file, which would need the command %q", command)
	}
	return ""
}

// removeTemporary removes the temporary files that a crash during a change has left.
func (p paths) removeTemporary(left stateFile) {
	written := []string{p.ConfigFile, p.state, p.BaseFile, p.PidFile}
	for name := range left.companions(p.ConfigFile) {
		written = append(written, filepath.Join(p.dir(), name))
	}
	replace.RemoveTemporary(p.ConfigFile, written...)
}
