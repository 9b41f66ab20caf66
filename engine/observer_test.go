package engine

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// refusalCounter counts the template versions that were refused.
type refusalCounter struct {
	NoObserver
	count atomic.Int64
}

func (c *refusalCounter) TemplateRefused(string) { c.count.Add(1) }

func TestObserver_TemplateRefusedOncePerVersion(t *testing.T) {
	refusals := &refusalCounter{}
	runWithObserver(t, "bad first", refusals, func(env *testEnv) {
		want := func(n int64, when string) {
			t.Helper()
			if got := refusals.count.Load(); got != n {
				t.Fatalf("%d versions were refused %s, want %d", got, when, n)
			}
		}
		env.emitServices("a")
		env.emitServices("b")
		want(1, "after two snapshots that the first version does not render")
		env.edit("v1")
		want(1, "after a good version")
		env.edit("broken")
		env.emitServices("c")
		want(2, "after one that does not load")
		env.edit("bad")
		env.emitServices("d")
		env.emitServices("e")
		want(3, "after one that does not render")
		env.sink.check = rejectWords("v2")
		env.edit("v2")
		env.emitServices("f")
		env.emitServices("g")
		want(4, "after one that the sink rejects")
		env.sink.check = nil
		env.emitServices("h")
		env.edit("v3")
		want(4, "after the sink accepts again")
	})
}

func runWithObserver(t *testing.T, template string, observer Observer, test func(env *testEnv)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		env := &testEnv{
			t: t, source: &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, templates: newFakeTemplates(template),
			sink: newFakeSink(),
		}
		env.engine = startEngine(t, Config{
			Sources:   map[string]SourceConfig{"s": {Source: env.source}},
			Pipelines: []PipelineConfig{{Name: "p", Source: "s", Templates: env.templates, Sink: env.sink}},
			Log:       slog.New(slog.DiscardHandler), Observer: observer,
		})
		test(env)
	})
}

func TestStatus_InSync(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		want := func(inSync bool, when string) {
			t.Helper()
			if got := env.status().InSync; got != inSync {
				t.Fatalf("in sync %v %s", got, when)
			}
		}
		want(false, "without a snapshot")
		env.emitServices("a")
		want(true, "with the first document")
		success := env.status().LastSuccess
		if !success.Equal(time.Now()) {
			t.Errorf("the last success was at %v", success)
		}

		env.sink.gate = make(chan struct{})
		env.emitServices("b")
		want(false, "while the sink is busy with a newer one")
		close(env.sink.gate)
		env.sink.gate = nil
		synctest.Wait()
		want(true, "after that")

		env.sink.setError("v1:c", sdk.Deferred("too early", time.Hour))
		env.emitServices("c")
		want(false, "while the newest one is deferred")
		env.sink.setError("v1:d", sdk.Rejectf("no"))
		env.emitServices("d")
		want(false, "while the newest one is rejected")
		time.Sleep(time.Minute)
		env.emitServices("d", "e")
		want(true, "after a better one")
		if got := env.status().LastSuccess; !got.Equal(time.Now()) {
			t.Errorf("the last success was at %v", got)
		}
	})
}

func TestSources(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		ask := func() SourceStatus {
			t.Helper()
			all := env.engine.Sources(env.t.Context())
			if len(all) != 1 || all[0].Name != "s" {
				t.Fatalf("got %+v", all)
			}
			return all[0]
		}
		if s := ask(); !s.Up || !s.LastSnapshot.IsZero() || s.Instances != nil {
			t.Errorf("without a snapshot: %+v", s)
		}
		env.emitServices("a", "b")
		emitted := time.Now()
		want := map[string]int{"Alive": 2, "Tombstone": 0, "Unhealthy": 0, "Unknown": 0, "Draining": 0}
		if s := ask(); !s.LastSnapshot.Equal(emitted) || s.Services != 2 || cmp.Diff(want, s.Instances) != "" {
			t.Errorf("got %+v", s)
		}
		env.source.emit <- nil // Watch fails
		synctest.Wait()
		if s := ask(); s.Up || len(s.Problems) != 1 {
			t.Errorf("after a failure: %+v", s)
		}
	})
}

// A source whose Health hangs is a problem, and delays nobody longer than the caller's context.
func TestSources_HangingHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := hangingSource{fakeSource: &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, end: make(chan struct{})}
		defer close(source.end)
		sources := map[string]SourceConfig{"s": {Source: source}}
		engine := startEngine(t, Config{Sources: sources, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if s := engine.Sources(ctx)[0]; s.Up || len(s.Problems) != 1 || time.Since(began) != time.Second {
			t.Errorf("got %+v after %v", s, time.Since(began))
		}
	})
}

// hangingSource is a source whose Health ignores its context.
type hangingSource struct {
	*fakeSource
	end chan struct{}
}

func (s hangingSource) Health(context.Context) (sdk.Health, error) {
	<-s.end
	return sdk.Health{}, nil
}
