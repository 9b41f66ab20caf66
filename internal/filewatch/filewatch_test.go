package templates

import (
	"context"
	"os"
	"testing"
	"time"
)

// startWatchFiles starts WatchFiles and returns a channel that receives with each call after the first.
func startWatchFiles(t *testing.T, paths ...string) <-chan struct{} {
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
	changes := startWatchFiles(t, dir+"/a", dir+"/data/b", dir+"/later")
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
	replace(t, dir+"/data/b", "2") // with the same content
	time.Sleep(3 * maxQuietWait)
	select {
	case <-changes:
		t.Error("called though no file has another content")
	default:
	}
	replace(t, dir+"/a", "4")
	<-changes
}
