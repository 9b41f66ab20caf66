package engine

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// renderCounter counts renderings.
type renderCounter struct {
	NoObserver
	count atomic.Int64
}

func (r *renderCounter) Rendered(string, time.Duration, error) { r.count.Add(1) }

// A snapshot in which only Updated times have changed is not rendered, whether or not the source shares instances with the
// previous one. The next document is rendered with the earlier Updated times.
func TestHeartbeats_AreNotRendered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rendered := &renderCounter{}
		source, sink := &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, newFakeSink()
		engine := startEngine(t, Config{
			Sources:   map[string]SourceConfig{"s": {Source: source}},
			Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: newFakeTemplates("v1"), Sink: sink}},
			Log:       slog.New(slog.DiscardHandler), Observer: rendered,
		})
		emit := func(snap sdk.Snapshot) {
			source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
			synctest.Wait()
		}
		first := snapshotOf("a", "b")
		emit(first)
		if n := rendered.count.Load(); n != 1 {
			t.Fatalf("the first snapshot was rendered %d times", n)
		}
		for range 20 {
			time.Sleep(10 * time.Second)
			emit(snapshotOf("a", "b"))
		}
		if n := rendered.count.Load(); n != 1 {
			t.Errorf("heartbeats were rendered %d times", n-1)
		}
		emit(snapshotOf("a", "b", "c"))
		if n := rendered.count.Load(); n != 2 {
			t.Errorf("a change was rendered %d times", n-1)
		}
		now, _ := engine.Snapshot("s")
		if got := now.Services[0].Instances[0].Updated; !got.Equal(first.Services[0].Instances[0].Updated) {
			t.Errorf("Updated is %v, want that of the first snapshot", got)
		}
	})
}
