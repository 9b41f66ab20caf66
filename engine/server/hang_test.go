package server

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

// Every read is answered while the sink hangs in Apply and Health, and no goroutines are left behind.
func TestReads_AreAnsweredWhileTheSinkHangs(t *testing.T) {
	env := newAPIEnv(t, AccessConfig{})
	first := env.applied(3).Generation
	env.waitForStart()
	release := make(chan struct{})
	env.sink.set(nil, release)
	env.emit(4)
	var paths []string
	for _, r := range env.routes() {
		if r.method == http.MethodGet && r.path != "/api/v1/events" && r.path != "/{$}" {
			paths = append(paths, strings.NewReplacer("{name}", "haproxy", "{generation}", fmt.Sprint(first)).Replace(r.path))
		}
	}
	askAll := func() {
		var wg sync.WaitGroup
		for _, path := range paths {
			wg.Go(func() {
				answered := make(chan int, 1)
				go func() { code, _ := env.get(path); answered <- code }()
				select {
				case <-answered:
				case <-time.After(30 * time.Second): // generous: the bound is a few seconds, on a machine that is busy
					t.Errorf("%s is not answered", path)
				}
			})
		}
		wg.Wait()
	}
	askAll()
	before := runtime.NumGoroutine()
	for range 20 {
		askAll()
	}
	if after := runtime.NumGoroutine(); after > before+len(paths) {
		t.Errorf("%d goroutines before and %d after %d requests", before, after, 20*len(paths))
	}
	if calls := env.sink.openCalls(); calls > 1 {
		t.Errorf("%d calls of Health at once", calls)
	}
	env.sink.set(nil, nil)
	close(release)
	env.waitForChange(func(c *history.Change) bool { return c.Generation > first && c.Outcome == history.OutcomeApplied })
}
