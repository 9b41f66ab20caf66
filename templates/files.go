package templates

import "context"

// WatchFiles calls changed at once, and again when one of the files reads otherwise than the time before, with the care of
// [Set.Watch]. files is asked each time which ones these are; they need not be there. changed runs on WatchFiles' goroutine.
//
// It blocks until ctx is done.
func WatchFiles(ctx context.Context, files func() []string, changed func()) {
	look := func() places {
		p := places{}
		for _, path := range files() {
			p.addPath(path)
		}
		return p
	}
	read := func() string {
		var sources []source
		for _, path := range files() {
			sources = append(sources, readSource("", path))
		}
		return digest(sources, nil)
	}
	w := newWatcher(pollEvery)
	defer w.close()
	w.run(ctx, look, read, "", changed)
}
