package haproxy

import (
	"cmp"
	"context"
	"time"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
)

// beginLoad records that HAProxy is told to load something, until end is called. reload says that a HAProxy runs: only then do
// the begin and the end count for reload_interval, since a start interrupts nothing. The caller holds s.change.
func (s *Sink) beginLoad(reload bool) (end func()) {
	s.update(func(st *state) { st.load(reload) })
	if reload {
		s.reloadLimit.recordStart()
	}
	return func() {
		s.update(func(st *state) { st.loadingSince = time.Time{} })
		if reload { // the interval begins at the end of a slow reload
			s.reloadLimit.recordStart()
		}
	}
}

// load makes HAProxy load doc, which is on disk, and the files that it reads beside it. A nil doc means that it is unknown what
// is on disk. After load has verified that HAProxy serves doc, it records doc as applied and corrects the servers that differ
// from it, about which the Log of the result says something. The caller holds s.files and s.change.
//
// The state of the files is taken before HAProxy reads them, so that a change during the load is noticed later.
func (s *Sink) load(ctx context.Context, doc *document) (process.LoadResult, error) {
	before := s.state.Load().loaded
	next := loadedInputs{watched: before.watched}
	if doc != nil {
		next.files = s.readInputs(ctx, doc, before.files)
		next.watched = cmp.Or(doc.watched, next.watched)
	}
	s.recordStable() // the supervisor does not while s.change is held
	result, err := s.tellToLoad(ctx)
	if err != nil {
		return result, err
	}
	if s.cfg.byCommand() && next.files != nil { // with which other files a command starts HAProxy is only known now
		for reference, files := range s.readInputs(ctx, doc, next.files) {
			if _, known := next.files[reference]; !known {
				next.files[reference] = files
			}
		}
	}
	s.update(func(st *state) { st.loaded = &next })
	s.resetClient(result.Instance)
	s.recordApplied(doc, result.Instance)
	result.Log = append(result.Log, s.correctLoaded(ctx, doc, result.Instance)...)
	return result, nil
}

// tellToLoad makes HAProxy load what is on disk, and waits until it serves that.
func (s *Sink) tellToLoad(ctx context.Context) (process.LoadResult, error) {
	step := "reload"
	if !s.state.Load().running.Alive() {
		step = "start"
	}
	defer report.Step(ctx, step)()
	return s.controller.Load(ctx)
}

// recordApplied records that the HAProxy in now serves doc, which is on disk; nil means that it is unknown what it serves. The
// caller holds s.change and s.files, whose release writes the state file.
func (s *Sink) recordApplied(doc *document, now process.Instance) {
	s.clientFor(now)
	old, ended := s.endOldWorkers(now)
	s.update(func(st *state) {
		st.apply(doc, now)
		st.waitingReload = nil
		st.recordOldWorkers(old, ended)
	})
}
