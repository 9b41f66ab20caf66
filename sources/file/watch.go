package file

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Watch emits the file's catalogue, and again whenever the file's content has changed. While the file is missing or
// wrong it emits nothing and logs where the fault is. It returns nil once ctx is done.
func (s *Source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	w := &watching{Source: s, emit: emit}
	w.openFolder()
	defer w.closeFolder()
	w.read()
	poll := time.NewTicker(s.poll)
	defer poll.Stop()
	settled := time.NewTimer(s.poll)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events():
			settled.Reset(w.settleIn())
		case err := <-w.failures():
			// Something may have been missed, so the folder is watched anew and the file read.
			w.log.Debug("watching the folder broke", "file", w.path, "error", err)
			w.closeFolder()
			w.openFolder()
			settled.Reset(w.settleIn())
		case <-settled.C:
			w.stirred = time.Time{}
			w.read()
		case <-poll.C:
			w.openFolder()
			w.read()
		}
	}
}

// A watching is the state of one call of Watch. It belongs to that call's goroutine.
type watching struct {
	*Source
	emit    func(sdk.Snapshot)
	folder  *fsnotify.Watcher // nil while the folder cannot be watched
	content []byte            // what was read last; nil before
	stirred time.Time         // when the folder began to change; zero while it is quiet
	trouble logdedup.Fault    // reading the file
}

// settleIn returns how long to wait before reading. Editors write a file in several steps, so it is until they are
// through, but no longer than ten times that: another file in the folder may change all the time.
func (w *watching) settleIn() time.Duration {
	if w.stirred.IsZero() {
		w.stirred = time.Now()
	}
	return max(min(w.settle, time.Until(w.stirred.Add(10*w.settle))), 0)
}

// openFolder watches the file's folder and not the file, which most editors and all orchestrators replace by another.
// It does nothing while it is watched already. A folder that was removed and made anew has to be watched anew.
func (w *watching) openFolder() {
	if w.folder != nil && len(w.folder.WatchList()) > 0 {
		return
	}
	w.closeFolder()
	folder, err := fsnotify.NewWatcher()
	if err != nil {
		return // the ticker remains
	}
	if err := folder.Add(filepath.Dir(w.path)); err != nil {
		_ = folder.Close()
		return
	}
	w.folder = folder
}

func (w *watching) closeFolder() {
	if w.folder != nil {
		_ = w.folder.Close()
		w.folder = nil
	}
}

func (w *watching) events() <-chan fsnotify.Event {
	if w.folder == nil {
		return nil
	}
	return w.folder.Events
}

func (w *watching) failures() <-chan error {
	if w.folder == nil {
		return nil
	}
	return w.folder.Errors
}

// read looks at the content and not at the time of change, which has too little resolution and may be set back.
func (w *watching) read() {
	content, err := os.ReadFile(w.path)
	if err != nil {
		w.content = nil
		w.complain(readError(err))
		return
	}
	if w.content != nil && bytes.Equal(content, w.content) {
		return
	}
	w.content = content
	snap, err := Decode(w.path, content, w.name)
	if err != nil {
		w.complain(err)
		return
	}
	w.healed()
	w.emit(w.dated(snap))
}

func readError(err error) error {
	if missing, ok := errors.AsType[*fs.PathError](err); ok {
		return missing.Err // the log line has the path already
	}
	return err
}

func (w *watching) complain(err error) {
	w.trouble.Warn(w.log, "the catalogue cannot be read, and the last good one stays in force; correct the file", err,
		"file", w.path)
}

func (w *watching) healed() {
	w.trouble.Resolve(w.log, "the catalogue can be read again", "file", w.path)
}

// dated fills in when the catalogue changed, where it does not say so itself.
func (w *watching) dated(snap sdk.Snapshot) sdk.Snapshot {
	if snap.Changed.IsZero() {
		if info, err := os.Stat(w.path); err == nil {
			snap.Changed = info.ModTime()
		}
	}
	return snap
}

var _ sdk.Source = (*Source)(nil)
