package haproxy

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// loaded is what HAProxy loaded beside the document. It is replaced and never modified.
type loaded struct {
	files   inputs // nil where that is not known
	watched string // see [sdk.Document]; empty where that is not known
}

// beside is what an offer of a document says about the files that HAProxy reads beside it.
type beside struct {
	reread  bool
	watched sdk.Document // without files
}

func besideOf(doc sdk.Document) beside {
	return beside{doc.Reread, sdk.Document{Watched: doc.Watched, Changed: doc.Changed}}
}

// changedBeside says why HAProxy has to load what it reads beside doc again, and is empty where it has not, or where nobody wants
// to know: a file that changes is not always whole yet, and a push must not load it.
func (s *Sink) changedBeside(ctx context.Context, doc *placed) string {
	was := s.notes.loadedBeside()
	if doc.beside.watched.LoadsAgain(was.watched) {
		if changed := doc.beside.watched.Changed; len(changed) > 0 {
			return "watched files changed: " + strings.Join(changed, ", ")
		}
		return "watched files changed"
	}
	if !doc.beside.reread {
		return ""
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
// looked at before HAProxy reads them, so that what changes meanwhile counts as a change.
func (s *Sink) load(ctx context.Context, doc *placed) (renewal, error) {
	next := loaded{watched: s.notes.loadedBeside().watched}
	if doc != nil {
		next.files = s.readInputs(ctx, doc, s.notes.loadedBeside().files)
		if doc.beside.watched.Watched != "" {
			next.watched = doc.beside.watched.Watched
		}
	}
	r, err := s.proxy.renew(ctx)
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
	s.notes.load(next)
	return r, nil
}

// noteWatched notes the state of the watched files, after doc was applied, where others or none were watched before.
func (s *Sink) noteWatched(doc *placed) {
	s.change.Lock()
	defer s.change.Unlock()
	is := s.notes.loadedBeside()
	if is.watched == doc.beside.watched.Watched || doc.beside.watched.Watched == "" {
		return
	}
	is.watched = doc.beside.watched.Watched
	s.notes.load(is)
	if content, disk := s.notes.wanted(); content != nil && content == disk {
		s.leaveReceipt(content, s.notes.running())
	}
}

// checkAgain is when to check a document again that was rejected for a file that may be mended.
const checkAgain = 10 * time.Second

// unlessFilesChanged returns the error with which the check rejected doc, as one that may pass where it is about a file that has
// changed since HAProxy loaded it: nobody says when that is mended.
func (s *Sink) unlessFilesChanged(ctx context.Context, doc *placed, err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || rejection.Passes {
		return err
	}
	was := s.notes.loadedBeside().files
	file := was.changed(s.readInputs(ctx, doc, was))
	if file == "" || !strings.Contains(err.Error(), filepath.Base(file)) {
		return err
	}
	return sdk.RefuseAt(checkAgain, rejection.Places, "the file %s changed since HAProxy loaded it, and %w", file, rejection.Err)
}
