package templates

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet     = 25 * time.Millisecond  // a save is over when nothing has happened for this long
	impatient = 100 * time.Millisecond // and is looked at after this long in any case
	pollEvery = 2 * time.Second        // for changes that make no event
)

// A watcher wakes up when something happens to the names that it follows. Files are replaced more often than written
// to, so it watches the folders around them.
type watcher struct {
	notify  *fsnotify.Watcher // nil where the system has no more to give: then there is only the poll
	events  <-chan fsnotify.Event
	errors  <-chan error
	poll    *time.Ticker
	names   places
	watched map[string]os.FileInfo

	quiet, impatient time.Duration // zero for the constants
}

func newWatcher(poll time.Duration) *watcher {
	w := &watcher{poll: time.NewTicker(poll), watched: map[string]os.FileInfo{}}
	if notify, err := fsnotify.NewWatcher(); err == nil {
		w.notify, w.events, w.errors = notify, notify.Events, notify.Errors
	}
	return w
}

func (w *watcher) close() {
	w.poll.Stop()
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// run calls changed whenever read returns something else than last and the time before, until ctx is done. look returns where
// that may come from.
func (w *watcher) run(ctx context.Context, look func() places, read func() string, last string, changed func()) {
	for {
		// Folders first, files second: a change after the look is then certain to make an event.
		w.follow(look)
		if now := read(); now != last {
			last = now
			changed()
		}
		if !w.wait(ctx) {
			return
		}
	}
}

// follow makes what look returns what w wakes up for. It looks again until nothing has moved meanwhile: a link that is
// switched just before its folder is watched makes no event.
func (w *watcher) follow(look func() places) {
	const patience = 10 // with somebody who never stops; the poll helps then
	for range patience {
		before := w.names
		w.names = look()
		moved := w.watch()
		if !moved && w.names.equal(before) {
			return
		}
	}
}

// watch watches the folders of w.names and no others, and reports whether that took a change. A folder that was
// replaced by another one under its name is watched anew.
func (w *watcher) watch() bool {
	if w.notify == nil {
		return false
	}
	moved := false
	for dir, info := range w.watched {
		now, err := os.Stat(dir)
		if _, wanted := w.names[dir]; !wanted || err != nil || !os.SameFile(info, now) {
			_ = w.notify.Remove(dir)
			delete(w.watched, dir)
			moved = true
		}
	}
	for dir := range w.names {
		info, err := os.Stat(dir)
		_, known := w.watched[dir]
		// Also those that are known: a folder that was made again may have got the number of the one that is gone.
		if err == nil && w.notify.Add(dir) == nil {
			w.watched[dir] = info
			moved = moved || !known
		}
	}
	return moved
}

// wait blocks until something may have changed, and returns false when ctx is done first.
func (w *watcher) wait(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.poll.C:
			return w.settle(ctx)
		case <-w.errors: //nolint:errcheck // whatever it is, events may have been lost
			return w.settle(ctx)
		case event := <-w.events:
			if w.concerns(event) {
				return w.settle(ctx)
			}
		}
	}
}

// settle waits until a save is over. It returns false when ctx is done first.
func (w *watcher) settle(ctx context.Context) bool {
	calm := cmp.Or(w.quiet, quiet)
	over := time.NewTimer(calm)
	defer over.Stop()
	late := time.NewTimer(cmp.Or(w.impatient, impatient))
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-late.C:
			return true
		case event := <-w.events:
			if w.concerns(event) {
				over.Reset(calm)
			}
		}
	}
}

// concerns reports whether the event is about a name that w follows, or about a watched folder itself.
func (w *watcher) concerns(event fsnotify.Event) bool {
	if _, ok := w.names[event.Name]; ok {
		return true
	}
	names := w.names[filepath.Dir(event.Name)]
	return names[""] || names[filepath.Base(event.Name)]
}
