package filewatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a poll interval that does not end: a test with it depends on events.
const never = time.Hour

// must fails the test for the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write puts files into a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		save(t, filepath.Join(dir, name), text)
	}
	return dir
}

func save(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600))
}

// overwrite changes a file of the same size in place and at once. With save, a watch may see an empty file in between.
func overwrite(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteString(text)
	must(t, err, file.Close())
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	save(t, path+".tmp", text)
	must(t, os.Rename(path+".tmp", path))
}

func link(t *testing.T, target, path string) {
	t.Helper()
	must(t, os.Symlink(target, path+".new"), os.Rename(path+".new", path))
}

// startFiles starts Files and returns a channel that receives with each call after the first.
func startFiles(t *testing.T, paths ...string) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		Files(ctx, func() []string { return paths }, func() {
			select {
			case changes <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	<-changes
	return changes
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	save(t, dir+"/a", "1")
	save(t, dir+"/v1/b", "1")
	save(t, dir+"/v2/b", "2")
	link(t, "v1", dir+"/data")
	changes := startFiles(t, dir+"/a", dir+"/data/b", dir+"/later")
	for name, change := range map[string]func(){
		"in place":  func() { overwrite(t, dir+"/a", "2") },
		"by rename": func() { replace(t, dir+"/a", "3") },
		"a link":    func() { link(t, "v2", dir+"/data") },
		"appearing": func() { replace(t, dir+"/later", "1") },
	} {
		change()
		<-changes
		t.Log(name)
	}
	must(t, os.Remove(dir+"/later"))
	<-changes
	save(t, dir+"/other", "1")
	replace(t, dir+"/data/b", "2") // with the same content
	time.Sleep(3 * DefaultMaxQuiet)
	select {
	case <-changes:
		t.Error("called though no file has another content")
	default:
	}
	replace(t, dir+"/a", "4")
	<-changes
}

// The limit of the user's inotify instances may be reached for a while.
func TestWatcher_AsksAgainForEvents(t *testing.T) {
	original := newNotify
	t.Cleanup(func() { newNotify = original })
	newNotify = func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	dir := t.TempDir()
	s := newSession(&Watcher{Poll: 10 * time.Millisecond, Paths: func() Paths { return Paths{dir: {"": true}} }})
	defer s.close()
	if !s.wait(t.Context()) || s.notify != nil {
		t.Fatalf("got a watcher %v", s.notify)
	}
	newNotify = original
	if !s.wait(t.Context()) || s.notify == nil {
		t.Fatal("got no watcher")
	}
	s.watchPaths()
	save(t, dir+"/a", "1")
	select {
	case <-s.events:
	case <-time.After(time.Minute):
		t.Error("got no event")
	}
}

func TestWatcher_WaitsForQuiet(t *testing.T) {
	const ms = time.Millisecond
	tests := map[string]struct {
		events []time.Duration // after the first one
		want   time.Duration
	}{
		"one event":                {nil, DefaultQuiet},
		"several":                  {[]time.Duration{10 * ms, 30 * ms}, 30*ms + DefaultQuiet},
		"a pause and then another": {[]time.Duration{10 * ms, 60 * ms}, 10*ms + DefaultQuiet},
		"continuous":               {[]time.Duration{20 * ms, 40 * ms, 60 * ms, 80 * ms, 95 * ms, 110 * ms}, DefaultMaxQuiet},
		"of other files":           {[]time.Duration{-10 * ms, -20 * ms}, DefaultQuiet},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := make(chan fsnotify.Event)
				s := newSession(&Watcher{Poll: never, PollOnly: true})
				s.events, s.paths = events, Paths{"/t": {"main": true}}
				defer s.close()
				began := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					send := func(name string) {
						select {
						case events <- fsnotify.Event{Name: name, Op: fsnotify.Write}:
						case <-ctx.Done():
						}
					}
					send("/t/main")
					for _, at := range tt.events {
						time.Sleep(max(at, -at) - time.Since(began))
						if at < 0 {
							send("/t/other")
						} else {
							send("/t/main")
						}
					}
				})
				if !s.wait(ctx) || time.Since(began) != tt.want {
					t.Errorf("after %v, want %v", time.Since(began), tt.want)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}
