package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func snapshotWith(alive, gone int) sdk.Snapshot {
	var all []sdk.Instance
	for i := range alive + gone {
		status := sdk.Alive
		if i >= alive {
			status = sdk.Tombstone
		}
		all = append(all, sdk.Instance{ID: fmt.Sprint(i), Name: "web", Hostname: "h", Status: status})
	}
	return sdk.Snapshot{Source: "s", Taken: time.Now(), Services: sdk.GroupByName(all)}
}

func TestGuard_HoldReason(t *testing.T) {
	g := Guard{MaxDrop: 0.5, MinInstances: 10, Hold: time.Second}
	tooMany := func(gone, of int) string {
		return fmt.Sprintf("%d of %d live instances are gone, more than max_drop allows", gone, of)
	}
	for _, test := range []struct {
		guard        Guard
		before, next sdk.Snapshot
		want         string
	}{
		{g, snapshotWith(10, 0), snapshotWith(5, 0), ""},
		{g, snapshotWith(10, 0), snapshotWith(4, 0), tooMany(6, 10)},
		{g, snapshotWith(10, 0), snapshotWith(4, 6), tooMany(6, 10)},
		{g, snapshotWith(9, 0), snapshotWith(1, 0), ""},
		{g, snapshotWith(9, 0), snapshotWith(0, 0), "none of 9 live instances is left"},
		{g, snapshotWith(1, 0), snapshotWith(0, 1), "none of 1 live instance is left"},
		{g, snapshotWith(0, 3), snapshotWith(0, 0), ""},
		{g, snapshotWith(0, 0), snapshotWith(0, 0), ""},
		{g, snapshotWith(10, 0), snapshotWith(20, 0), ""},
		{Guard{MaxDrop: 1, Hold: 1}, snapshotWith(10, 0), snapshotWith(1, 0), ""},
		{Guard{MaxDrop: 1, Hold: 1}, snapshotWith(10, 0), snapshotWith(0, 0), "none of 10 live instances is left"},
		{Guard{MaxDrop: 0, Hold: 1}, snapshotWith(10, 0), snapshotWith(9, 0), tooMany(1, 10)},
		{Guard{MaxDrop: 0, MinInstances: 1}, snapshotWith(10, 0), snapshotWith(0, 0), ""},
	} {
		if got := test.guard.holdReason(countLive(test.before), countLive(test.next)); got != test.want {
			t.Errorf("%+v of %d after %d: %q, want %q", test.guard, countLive(test.next), countLive(test.before), got, test.want)
		}
	}
}

// guardEnv is a testEnv with two pipelines of one source, which has a guard and a state store.
type guardEnv struct {
	*testEnv
	log      *logBuffer
	observer *heldObserver
	store    *fakeStateStore
}

func (g *guardEnv) emit(snap sdk.Snapshot) {
	g.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
	synctest.Wait()
}

func (g *guardEnv) live(t *testing.T, want int) {
	t.Helper()
	snap, _ := g.engine.Snapshot("s")
	if countLive(snap) != want {
		t.Errorf("%d live instances are in use, want %d", countLive(snap), want)
	}
}

func (g *guardEnv) held(t *testing.T, want bool) {
	t.Helper()
	for _, status := range g.engine.Status() {
		if (status.Held != nil) != want {
			t.Errorf("%s: held %v, want %v", status.Name, status.Held, want)
		}
	}
	for _, status := range g.engine.Sources(t.Context()) {
		if (status.Held != nil) != want {
			t.Errorf("source %s: held %v, want %v", status.Name, status.Held, want)
		}
	}
}

type heldObserver struct {
	NoObserver
	mu   sync.Mutex
	seen []bool
}

func (o *heldObserver) SnapshotReceived(_ sdk.Snapshot, held bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, held)
}

type logBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *logBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Builder.Reset()
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

func runGuarded(t *testing.T, guard Guard, store *fakeStateStore, test func(t *testing.T, g *guardEnv)) {
	t.Helper()
	runGuardedTemplate(t, "v1", guard, store, test)
}

func runGuardedTemplate(
	t *testing.T, template string, guard Guard, store *fakeStateStore, test func(t *testing.T, g *guardEnv),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &guardEnv{
			testEnv:  &testEnv{t: t, source: &fakeSource{emit: make(chan func(func(sdk.Snapshot)))}, sink: newFakeSink()},
			log:      &logBuffer{},
			observer: &heldObserver{},
			store:    store,
		}
		g.templates = newFakeTemplates(template)
		g.engine = startEngine(t, Config{
			Sources: map[string]SourceConfig{"s": {Source: g.source, Guard: guard}},
			Pipelines: []PipelineConfig{
				{Name: "p", Source: "s", Templates: g.templates, Sink: g.sink},
				{Name: "q", Source: "s", Templates: newFakeTemplates("w1"), Sink: newFakeSink()},
			},
			StateStore: store, Observer: g.observer,
			Log: slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
		test(t, g)
	})
}

var testGuard = Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second}

func TestGuard_ShrunkenSnapshotIsHeld(t *testing.T) {
	runGuarded(t, testGuard, newFakeStateStore(), func(t *testing.T, g *guardEnv) {
		g.held(t, false)
		g.emit(snapshotWith(20, 0))
		g.emit(snapshotWith(1, 0))
		g.held(t, true)
		g.live(t, 20)
		time.Sleep(20 * time.Second)
		g.emit(snapshotWith(2, 0)) // still too few; the time is not extended
		if got := g.engine.Status()[0].Held.Reason; got != "18 of 20 live instances are gone, more than max_drop allows" {
			t.Errorf("reason %q", got)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		g.held(t, true)
		time.Sleep(time.Second)
		synctest.Wait()
		g.held(t, false)
		g.live(t, 2)
		if n := strings.Count(g.log.String(), "snapshot held"); n != 1 {
			t.Errorf("inspect %d times that it is held:\n%s", n, g.log)
		}
		if !slices.Equal(g.observer.seen, []bool{false, true, true}) {
			t.Errorf("observed %v", g.observer.seen)
		}
		if !g.engine.Health(t.Context())[0].OK() {
			t.Error("held is no problem of health")
		}
	})
}

func TestGuard_RecoveredSnapshotEndsHold(t *testing.T) {
	runGuarded(t, testGuard, newFakeStateStore(), func(t *testing.T, g *guardEnv) {
		g.emit(snapshotWith(20, 0))
		for range 3 {
			g.emit(snapshotWith(0, 0))
			g.held(t, true)
			time.Sleep(29 * time.Second)
			g.emit(snapshotWith(19, 1))
			g.held(t, false)
			g.live(t, 19)
		}
		time.Sleep(time.Hour)
		g.live(t, 19)
		if snap, _ := g.store.Snapshot("s"); countLive(snap) != 19 {
			t.Errorf("%d live instances are stored", countLive(snap))
		}
	})
}

func TestRelease(t *testing.T) {
	runGuarded(t, testGuard, newFakeStateStore(), func(t *testing.T, g *guardEnv) {
		if released, err := g.engine.Release("p", "192.0.2.9"); released || err != nil {
			t.Errorf("nothing is held: %v, %v", released, err)
		}
		if _, err := g.engine.Release("x", "192.0.2.9"); err != ErrNoPipeline { //nolint:errorlint // not wrapped
			t.Errorf("no pipeline: %v", err)
		}
		g.emit(snapshotWith(20, 0))
		g.emit(snapshotWith(3, 0))
		if released, err := g.engine.Release("q", "192.0.2.9"); !released || err != nil {
			t.Errorf("released: %v, %v", released, err)
		}
		synctest.Wait()
		g.held(t, false)
		g.live(t, 3)
		time.Sleep(time.Hour) // the timer of the hold was stopped
		g.emit(snapshotWith(3, 1))
		g.live(t, 3)
	})
}

func TestGuard_ZeroGuardHoldsNothing(t *testing.T) {
	runGuarded(t, Guard{}, newFakeStateStore(), func(t *testing.T, g *guardEnv) {
		g.emit(snapshotWith(20, 0))
		g.emit(snapshotWith(0, 0))
		g.live(t, 0)
	})
}

func TestEngineApply_ReappliesDocument(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		if err := env.engine.Apply("p", "192.0.2.9"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		env.wantApplied("1 v1:a", "1 v1:a")
		if last := env.status().Last; last.Trigger.Kind != history.TriggerRequest || env.status().Generation != 1 {
			t.Errorf("last %+v of generation %d", last, env.status().Generation)
		}
		if err := env.engine.Apply("x", "192.0.2.9"); err != ErrNoPipeline { //nolint:errorlint // not wrapped
			t.Errorf("no pipeline: %v", err)
		}
	})
}

func TestSourceHealth_FailedWatch(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		env.emitServices("a")
		env.source.emit <- nil
		synctest.Wait()
		problems := env.engine.Sources(t.Context())[0].Problems
		if len(problems) != 1 || !strings.HasSuffix(problems[0], ": connection closed") {
			t.Errorf("problems %q", problems)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if problems := env.engine.Sources(t.Context())[0].Problems; len(problems) != 0 {
			t.Errorf("after it watches again: %q", problems)
		}
	})
}

func TestTemplateError_LogsWhenItIsOver(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		var log bytes.Buffer
		env.engine.current().pipelines[0].log = slog.New(slog.NewTextHandler(&log, nil))
		env.emitServices("a")
		env.edit("broken:")
		broken := env.status().TemplateError != nil && !strings.Contains(log.String(), "template accepted again")
		env.edit("v2")
		if again := strings.Count(log.String(), "template accepted again"); !broken || again != 1 {
			t.Errorf("broken %v, and %d lines:\n%s", broken, again, &log)
		}
	})
}

// The log has a line when a logged fault is over.
func TestSource_LogsWhenItEmitsAgain(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		var log bytes.Buffer
		env.engine.current().sources["s"].log = slog.New(slog.NewTextHandler(&log, nil))
		env.source.emit <- nil
		time.Sleep(time.Minute)
		synctest.Wait()
		if strings.Contains(log.String(), "level=INFO") {
			t.Errorf("logged before a snapshot was emitted: %s", &log)
		}
		for _, service := range []string{"a", "b"} {
			env.emitServices(service)
		}
		if n := strings.Count(log.String(), "level=INFO"); n != 1 {
			t.Errorf("%d lines, want 1: %s", n, &log)
		}
	})
}

// Snapshots that shrink in small steps within the time of Hold are held like one that shrinks at once.
func TestGuard_ShrinkInSmallSteps(t *testing.T) {
	guard := Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second}
	runGuarded(t, guard, newFakeStateStore(), func(t *testing.T, g *guardEnv) {
		for _, step := range []struct {
			after       time.Duration
			emits, uses int
			held        bool
		}{
			{0, 100, 100, false},
			{time.Second, 51, 51, false},
			{time.Second, 26, 51, true}, // 74 of 100 within 30 s
			{time.Second, 13, 51, true},
			{time.Second, 60, 60, false},
			{40 * time.Second, 31, 31, false}, // 100 was longer ago
			{time.Second, 29, 31, true},       // 60 was not
			{31 * time.Second, 29, 29, false}, // the hold is over
			{time.Second, 15, 15, false},      // earlier snapshots no longer count
		} {
			time.Sleep(step.after)
			g.emit(snapshotWith(step.emits, 0))
			g.live(t, step.uses)
			g.held(t, step.held)
		}
	})
}
