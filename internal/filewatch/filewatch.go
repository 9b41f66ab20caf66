// Package filewatch calls a function when the content of files has changed.
//
// Editors and orchestrators replace files more often than they write to them, so a [Watcher] watches the directories of the files
// and all symbolic links on the way, waits until a save is complete, and then reads and compares the files. A slow poll finds
// changes that cause no event, as on network file systems. The package does not know what the files are for.
package filewatch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

// The defaults of the fields of a [Watcher].
const (
	DefaultQuiet    = 25 * time.Millisecond
	DefaultMaxQuiet = 100 * time.Millisecond
	DefaultPoll     = 2 * time.Second
)

// A Watcher watches files. Its functions are called on the goroutine of [Watcher.Run].
type Watcher struct {
	// Paths returns the paths that Read depends on at the moment.
	Paths func() Paths
	// Read reads the files, and returns a text that is the same for the same content.
	Read func() string
	// Changed is called after Read has returned another text than the time before.
	Changed func()

	Quiet    time.Duration // a save is complete when nothing has happened for this long
	MaxQuiet time.Duration // files that keep changing are read after this long
	Poll     time.Duration // the interval at which the files are read without an event

	PollOnly bool // use no events of the file system
}

// Run calls Changed whenever Read returns another text than before. The first text is compared with last, so that changes before
// Run count too. It blocks until ctx is done. While the system provides no events, only the poll remains.
func (w *Watcher) Run(ctx context.Context, last string) {
	s := newSession(w)
	defer s.close()
	for {
		// Directories first, files second: a change after the files were read is then certain to cause an event.
		s.watchPaths()
		if now := w.Read(); now != last {
			last = now
			w.Changed()
		}
		if !s.wait(ctx) {
			return
		}
	}
}

// Files calls changed at once, and again when one of the files has another content than the time before. It calls files each time
// to learn which ones to watch; they need not exist. It blocks until ctx is done.
func Files(ctx context.Context, files func() []string, changed func()) {
	w := &Watcher{
		Paths: func() Paths {
			paths := Paths{}
			for _, path := range files() {
				paths.Add(path)
			}
			return paths
		},
		Read: func() string {
			h := sha256.New()
			for _, path := range files() {
				content, err := os.ReadFile(path)
				fmt.Fprintf(h, "%q %q %v\n", path, content, err)
			}
			return hex.EncodeToString(h.Sum(nil))
		},
		Changed: changed,
	}
	w.Run(ctx, "")
}

// A session is the state of one [Watcher.Run].
type session struct {
	*Watcher
	notify  *fsnotify.Watcher // nil without events
	events  <-chan fsnotify.Event
	errors  <-chan error
	poll    *time.Ticker
	paths   Paths
	watched map[string]os.FileInfo // by directory
}

func newSession(w *Watcher) *session {
	s := &session{Watcher: w, poll: time.NewTicker(cmp.Or(w.Poll, DefaultPoll)), watched: map[string]os.FileInfo{}}
	s.openNotify()
	return s
}

// newNotify is replaced in tests.
var newNotify = fsnotify.NewWatcher

// openNotify asks the system for events, unless it provides them already or PollOnly is set. An error may be temporary, such as
// too many open files.
func (s *session) openNotify() {
	if s.PollOnly || s.notify != nil {
		return
	}
	if notify, err := newNotify(); err == nil {
		s.notify, s.events, s.errors = notify, notify.Events, notify.Errors
	}
}

func (s *session) close() {
	s.poll.Stop()
	if s.notify != nil {
		_ = s.notify.Close()
	}
}

// watchPaths watches the directories of the paths. It asks for the paths again until nothing has changed meanwhile: a link that
// is switched just before its directory is watched causes no event.
func (s *session) watchPaths() {
	const maxTries = 10 // if the links do not stop changing, the poll helps
	for range maxTries {
		before := s.paths
		s.paths = s.Paths()
		changed := s.watchDirs()
		if !changed && s.paths.equal(before) {
			return
		}
	}
}

// watchDirs watches the directories of s.paths and no others, and reports whether that took a change. It also watches a directory
// again that was replaced by another one of the same name.
func (s *session) watchDirs() (changed bool) {
	if s.notify == nil {
		return false
	}
	for dir, info := range s.watched {
		now, err := os.Stat(dir)
		if _, wanted := s.paths[dir]; !wanted || err != nil || !os.SameFile(info, now) {
			_ = s.notify.Remove(dir)
			delete(s.watched, dir)
			changed = true
		}
	}
	for dir := range s.paths {
		info, err := os.Stat(dir)
		_, known := s.watched[dir]
		// Known ones are added again, since a new directory may have the inode number of the one that was removed.
		if err == nil && s.notify.Add(dir) == nil {
			s.watched[dir] = info
			changed = changed || !known
		}
	}
	return changed
}

// wait blocks until something may have changed. It returns false if ctx is done first.
func (s *session) wait(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.poll.C:
			s.openNotify()
			return s.waitForQuiet(ctx)
		case <-s.errors: //nolint:errcheck // events may have been lost, whatever the error is
			return s.waitForQuiet(ctx)
		case event := <-s.events:
			if s.paths.contain(event.Name) {
				return s.waitForQuiet(ctx)
			}
		}
	}
}

// waitForQuiet blocks until a save is complete. It returns false if ctx is done first.
func (s *session) waitForQuiet(ctx context.Context) bool {
	duration := cmp.Or(s.Quiet, DefaultQuiet)
	quiet := time.NewTimer(duration)
	defer quiet.Stop()
	limit := time.NewTimer(cmp.Or(s.MaxQuiet, DefaultMaxQuiet))
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-limit.C:
			return true
		case event := <-s.events:
			if s.paths.contain(event.Name) {
				quiet.Reset(duration)
			}
		}
	}
}
