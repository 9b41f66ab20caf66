package haproxy

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/report"
)

// loadedInputs is what HAProxy loaded beside the document. It is replaced and never modified.
type loadedInputs struct {
	files   inputs // nil if unknown
	watched string // see [sdk.Watched]; empty if unknown
}

// Reread makes HAProxy load the applied configuration once more if files have changed that it reads beside it, such as
// certificates. Without Reread these are loaded with the next reload for another reason: only the caller knows when a changed
// file is complete.
func (s *Sink) Reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	ctx, done := report.With(ctx)
	if err := s.ready(ctx); err != nil {
		return sdk.Result{}, err
	}
	result, err := s.reread(ctx, watched)
	return done.Result(result), err
}

func (s *Sink) reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	s.change.Lock()
	now, err := s.controller.Find(ctx)
	s.change.Unlock()
	applied := s.state.Load().applied(now)
	if err != nil || applied == nil {
		return sdk.Result{}, errors.Join(errors.New("the configuration that HAProxy serves is unknown"), err)
	}
	reason := s.whyReread(ctx, applied, watched)
	if reason == "" {
		s.recordWatched(ctx, watched.ID)
		return sdk.Result{Action: sdk.ActionUnchanged, Reason: "no file that HAProxy reads has changed"}, nil
	}
	again := *applied
	again.reread, again.watched = reason, watched.ID
	return s.applyFiles(ctx, &again, fileChange{reload: reason, rateLimited: true})
}

// whyReread returns why HAProxy has to load the files that it reads beside doc again, or "" if it need not.
func (s *Sink) whyReread(ctx context.Context, doc *document, watched sdk.Watched) string {
	was := s.state.Load().loaded
	if watched.ChangedSince(was.watched) {
		if len(watched.Changed) > 0 {
			return "watched files changed: " + strings.Join(watched.Changed, ", ")
		}
		return "watched files changed"
	}
	now := s.readInputs(ctx, doc, was.files)
	if was.files == nil && len(now) > 0 {
		return "it is unknown whether the files that HAProxy reads beside the configuration have changed"
	}
	if file := was.files.changed(now); file != "" {
		return "the file " + file + ", which HAProxy reads beside the configuration, changed"
	}
	return ""
}

// recordWatched records the state of the watched files when HAProxy need not load them.
func (s *Sink) recordWatched(ctx context.Context, id string) {
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

// checkAgain is the time after which a document that was rejected because of a changed file is checked again.
const checkAgain = 10 * time.Second

// asTemporaryIfFilesChanged returns err, with which the check has rejected doc. If err is about a file that has changed since
// HAProxy loaded it, it returns a temporary rejection instead, because the sink is not told when such a file is corrected.
func (s *Sink) asTemporaryIfFilesChanged(ctx context.Context, doc *document, err error) error {
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
