package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// loaded is what HAProxy loaded beside the document. It is replaced and never modified.
type loaded struct {
	files   inputs // nil where that is not known
	watched string // see [sdk.Watched]; empty where that is not known
}

// Reread has HAProxy load the configuration that is in effect once more, where files have changed that it reads beside it.
// Otherwise these are loaded with the next reload for another reason: a file that changes is not always whole yet, so that
// nobody but who asks or watches knows when to load it.
func (s *Sink) Reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	began := time.Now()
	if err := s.ready(ctx); err != nil {
		return sdk.Result{}, err
	}
	result, err := s.reread(ctx, watched)
	result.Took = time.Since(began)
	return result, err
}

func (s *Sink) reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	s.change.Lock()
	now, err := s.controller.Find(ctx)
	s.change.Unlock()
	inEffect := s.state.Load().applied(now)
	if err != nil || inEffect == nil {
		return sdk.Result{}, errors.Join(errors.New("what HAProxy serves now is not known"), err)
	}
	reason := s.changedBeside(ctx, inEffect, watched)
	if reason == "" {
		s.noteWatched(ctx, watched.ID)
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: "no file has changed that HAProxy reads"}, nil
	}
	again := *inEffect
	again.reread, again.watched = reason, watched.ID
	result, err := s.applyFiles(ctx, &again, fileChange{reload: reason, mayBeSoon: true})
	if err == nil {
		s.lockedUpdate(func(st *state) { st.lastChange = result.Action + ": " + result.Reason })
	}
	return result, err
}

// changedBeside says why HAProxy has to load what it reads beside doc again, and is empty where it has not.
func (s *Sink) changedBeside(ctx context.Context, doc *document, watched sdk.Watched) string {
	was := s.state.Load().loaded
	if watched.ChangedSince(was.watched) {
		if len(watched.Changed) > 0 {
			return "watched files changed: " + strings.Join(watched.Changed, ", ")
		}
		return "watched files changed"
	}
	now := s.readInputs(ctx, doc, was.files)
	if was.files == nil && len(now) > 0 {
		return "whether the files that HAProxy reads beside the configuration have changed is not known"
	}
	if file := was.files.changed(now); file != "" {
		return "the file " + file + ", which HAProxy reads beside the configuration, changed"
	}
	return ""
}

// load has HAProxy load doc, which is on disk, and all that it reads beside it; nil is for not knowing what is on disk. Files are
// looked at before HAProxy reads them, so that what changes meanwhile counts as a change. The caller holds s.files and s.change.
func (s *Sink) load(ctx context.Context, doc *document) (process.LoadResult, error) {
	before := s.state.Load().loaded
	next := loaded{watched: before.watched}
	if doc != nil {
		next.files = s.readInputs(ctx, doc, before.files)
		next.watched = cmp.Or(doc.watched, next.watched)
	}
	r, err := s.controller.Load(ctx)
	if err != nil {
		return r, err
	}
	if s.cfg.byCommand() && next.files != nil { // with which other files a command starts HAProxy is only known now
		for reference, files := range s.readInputs(ctx, doc, next.files) {
			if _, known := next.files[reference]; !known {
				next.files[reference] = files
			}
		}
	}
	s.update(func(st *state) { st.loaded = &next })
	s.resetClient(r.Instance)
	return r, nil
}

// noteWatched notes the state of the watched files where HAProxy need not load them.
func (s *Sink) noteWatched(ctx context.Context, id string) {
	if id == "" || id == s.state.Load().loaded.watched || s.lockFiles(ctx) != nil {
		return
	}
	defer s.unlockFiles()
	s.lockedUpdate(func(st *state) {
		next := *st.loaded
		next.watched = id
		st.loaded = &next
	})
}

// checkAgain is when to check a document again that was rejected for a file that may be mended.
const checkAgain = 10 * time.Second

// unlessFilesChanged returns the error with which the check rejected doc, as one that may pass where it is about a file that has
// changed since HAProxy loaded it: nobody says when that is mended.
func (s *Sink) unlessFilesChanged(ctx context.Context, doc *document, err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || rejection.Temporary {
		return err
	}
	was := s.state.Load().loaded.files
	file := was.changed(s.readInputs(ctx, doc, was))
	if file == "" || !strings.Contains(err.Error(), filepath.Base(file)) {
		return err
	}
	return sdk.RetryAfter(&sdk.Rejection{
		Err:       fmt.Errorf("the file %s changed since HAProxy loaded it, and %w", file, rejection.Err),
		Positions: rejection.Positions, Temporary: true,
	}, checkAgain)
}

var _ sdk.Rereader = (*Sink)(nil)
