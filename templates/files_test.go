package templates

import (
	"context"
	"os"
	"testing"
	"time"
)

// follow starts WatchFiles and returns what receives with each call, the first of which was made already.
func follow(t *testing.T, paths ...string) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		WatchFiles(ctx, func() []string { return paths }, func() {
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

func TestWatchFiles(t *testing.T) {
	dir := t.TempDir()
	save(t, dir+"/a", "1")
	save(t, dir+"/v1/b", "1")
	save(t, dir+"/v2/b", "2")
	link(t, "v1", dir+"/data")
	changes := follow(t, dir+"/a", dir+"/data/b", dir+"/later")
	for name, change := range map[string]func(){
		"in place":  func() { save(t, dir+"/a", "2") },
		"by rename": func() { replace(t, dir+"/a", "3") },
		"a link":    func() { link(t, "v2", dir+"/data") },
		"appearing": func() { save(t, dir+"/later", "1") },
	} {
		change()
		<-changes
		t.Log(name)
	}
	must(t, os.Remove(dir+"/later"))
	<-changes
	save(t, dir+"/other", "1")
	replace(t, dir+"/data/b", "2") // reads as before
	time.Sleep(3 * impatient)
	select {
	case <-changes:
		t.Error("called though nothing reads otherwise")
	default:
	}
	replace(t, dir+"/a", "4")
	<-changes
}
