package templates

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quietTime    = 25 * time.Millisecond  // a save is over when nothing has happened for this long,
	maxQuietWait = 100 * time.Millisecond // and files are read after this long in any case
	pollInterval = 2 * time.Second        // for changes that cause no event
)

// WatchFiles calls changed at once, and again when one of the files has another content than the time before, with the
// guarantees of [Set.Watch]. It calls files each time to learn which ones to watch; they need not exist. changed runs on the
// goroutine of WatchFiles.
//
// It blocks until ctx is done.
func WatchFiles(ctx context.Context, files func() []string, changed func()) {
	names := func() dirNames {
		watched := dirNames{}
		for _, path := range files() {
			watched.addPath(path)
		}
		return watched
	}
	read := func() string {
		var sources []source
		for _, path := range files() {
			sources = append(sources, readSource("", path))
		}
		return digest(sources, nil)
	}
	w := newWatcher(pollInterval)
	defer w.close()
	w.run(ctx, names, read, "", changed)
}

// A watcher wakes up when something happens to the names that it follows. Editors replace files more often than they write to
// them, so it watches the directories of the files.
type watcher struct {
	notify  *fsnotify.Watcher // nil if the system has no more to give: then there is only the poll
	events  <-chan fsnotify.Event
	errors  <-chan error
	poll    *time.Ticker
	names   dirNames
	watched map[string]os.FileInfo // by directory

	quietTime, maxQuietWait time.Duration // zero for the constants
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

// run calls changed whenever read returns something else than the time before, which is last at first. names returns what to
// follow. It blocks until ctx is done.
func (w *watcher) run(ctx context.Context, names func() dirNames, read func() string, last string, changed func()) {
	for {
		// Directories first, files second: a change after the files were read is then certain to cause an event.
		w.follow(names)
		if now := read(); now != last {
			last = now
			changed()
		}
		if !w.wait(ctx) {
			return
		}
	}
}

// follow makes w wake up for what names returns. It asks again until nothing has changed meanwhile: a link that is switched just
// before its directory is watched causes no event.
func (w *watcher) follow(names func() dirNames) {
	const maxTries = 10 // if the links do not stop changing, the poll helps
	for range maxTries {
		before := w.names
		w.names = names()
		changed := w.watchDirs()
		if !changed && w.names.equal(before) {
			return
		}
	}
}

// watchDirs watches the directories of w.names and no others, and reports whether that took a change. It watches a directory
// anew that was replaced by another one of the same name.
func (w *watcher) watchDirs() (changed bool) {
	if w.notify == nil {
		return false
	}
	for dir, info := range w.watched {
		now, err := os.Stat(dir)
		if _, wanted := w.names[dir]; !wanted || err != nil || !os.SameFile(info, now) {
			_ = w.notify.Remove(dir)
			delete(w.watched, dir)
			changed = true
		}
	}
	for dir := range w.names {
		info, err := os.Stat(dir)
		_, known := w.watched[dir]
		// Known ones are added again, since a new directory may have the inode number of the one that was removed.
		if err == nil && w.notify.Add(dir) == nil {
			w.watched[dir] = info
			changed = changed || !known
		}
	}
	return changed
}

// wait blocks until something may have changed. It returns false if ctx is done first.
func (w *watcher) wait(ctx context.Context) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-w.poll.C:
			return w.waitForQuiet(ctx)
		case <-w.errors: //nolint:errcheck // events may have been lost, whatever the error is
			return w.waitForQuiet(ctx)
		case event := <-w.events:
			if w.follows(event) {
				return w.waitForQuiet(ctx)
			}
		}
	}
}

// waitForQuiet blocks until a save is over. It returns false if ctx is done first.
func (w *watcher) waitForQuiet(ctx context.Context) bool {
	quietTime := cmp.Or(w.quietTime, quietTime)
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	limit := time.NewTimer(cmp.Or(w.maxQuietWait, maxQuietWait))
	defer limit.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-limit.C:
			return true
		case event := <-w.events:
			if w.follows(event) {
				quiet.Reset(quietTime)
			}
		}
	}
}

// follows reports whether the event is about a name that w follows, or about a watched directory itself.
func (w *watcher) follows(event fsnotify.Event) bool {
	if _, ok := w.names[event.Name]; ok {
		return true
	}
	names := w.names[filepath.Dir(event.Name)]
	return names[""] || names[filepath.Base(event.Name)]
}

// dirNames are names by their directory: when one of them changes, a path may lead to another file. The name "" means every
// name.
type dirNames map[string]map[string]bool

func (d dirNames) add(dir, name string) {
	if d[dir] == nil {
		d[dir] = map[string]bool{}
	}
	d[dir][name] = true
}

func (d dirNames) equal(other dirNames) bool {
	return maps.EqualFunc(d, other, maps.Equal[map[string]bool, map[string]bool])
}

// addPath follows path from the root of the file system, through symbolic links, and adds what is replaced when the file is: the
// file, its directory, every link on the way, and what is missing. Directories further above, such as /tmp, have other events and
// are not added; the poll notices when they move.
func (d dirNames) addPath(path string) {
	const maxLinks = 40
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	dir, rest := "/", pathElements(abs)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		here := filepath.Join(dir, name)
		info, err := os.Lstat(here)
		isLink := err == nil && info.Mode()&os.ModeSymlink != 0
		if err != nil || isLink || len(rest) < 2 {
			d.add(dir, name)
		}
		switch {
		case err != nil:
			return
		case !isLink:
			dir = here
			continue
		}
		target, err := os.Readlink(here)
		if links++; err != nil || links > maxLinks {
			return
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = slices.Concat(pathElements(target), rest)
	}
}

// addPattern adds the directories in which files may appear that the pattern matches.
func (d dirNames) addPattern(pattern string) {
	for dir := filepath.Dir(pattern); ; dir = filepath.Dir(dir) {
		d.addDirs(dir)
		if !hasMeta(dir) {
			return
		}
	}
}

// addDirs adds every name in the directories that the pattern matches. One without special characters need not exist yet.
func (d dirNames) addDirs(pattern string) {
	if !hasMeta(pattern) {
		d.addPath(pattern)
	}
	dirs, _ := filepath.Glob(pattern)
	for _, dir := range dirs {
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			if abs, err := filepath.Abs(target); err == nil {
				d.add(abs, "")
			}
		}
	}
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

func pathElements(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(filepath.Clean(path)), "/"), func(element string) bool {
		return element == "" || element == "."
	})
}

// dirNames returns what the files of the set depend on at the moment.
func (s *Set) dirNames() dirNames {
	names := dirNames{}
	if s.cfg.Path != "" {
		names.addPath(s.cfg.Path)
	}
	for _, path := range s.cfg.Files {
		names.addPath(path)
	}
	for _, pattern := range s.cfg.Partials {
		names.addPattern(pattern)
	}
	partials, _ := s.partials()
	for _, path := range partials {
		names.addPath(path)
	}
	return names
}
