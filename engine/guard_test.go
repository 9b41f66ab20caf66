package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func crowd(alive, gone int) sdk.Snapshot {
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

func TestWhatAGuardObjectsTo(t *testing.T) {
	g := Guard{MaxDrop: 0.5, MinInstances: 10, Hold: time.Second}
	for _, test := range []struct {
		guard        Guard
		before, next sdk.Snapshot
		want         string
	}{
		{g, crowd(10, 0), crowd(5, 0), ""},
		{g, crowd(10, 0), crowd(4, 0), "6 of 10 live instances are gone, more than max_drop allows"},
		{g, crowd(10, 0), crowd(4, 6), "6 of 10 live instances are gone, more than max_drop allows"},
		{g, crowd(9, 0), crowd(1, 0), ""},
		{g, crowd(9, 0), crowd(0, 0), "none of 9 live instances is left"},
		{g, crowd(1, 0), crowd(0, 1), "none of 1 live instance is left"},
		{g, crowd(0, 3), crowd(0, 0), ""},
		{g, crowd(0, 0), crowd(0, 0), ""},
		{g, crowd(10, 0), crowd(20, 0), ""},
		{Guard{MaxDrop: 1, Hold: 1}, crowd(10, 0), crowd(1, 0), ""},
		{Guard{MaxDrop: 1, Hold: 1}, crowd(10, 0), crowd(0, 0), "none of 10 live instances is left"},
		{Guard{MaxDrop: 0, Hold: 1}, crowd(10, 0), crowd(9, 0), "1 of 10 live instances are gone, more than max_drop allows"},
		{Guard{MaxDrop: 0, MinInstances: 1}, crowd(10, 0), crowd(0, 0), ""},
	} {
		if got := test.guard.holdReason(countLive(test.before), countLive(test.next)); got != test.want {
			t.Errorf("%+v of %d after %d: %q, want %q", test.guard, countLive(test.next), countLive(test.before), got, test.want)
		}
	}
}

// guarded plays a scene with two pipelines on one source, guarded and with a memory.
type guarded struct {
	*world
	log   *lockedBuilder
	told  *heldObserver
	store *fakeStateStore
}

func (g *guarded) emit(snap sdk.Snapshot) {
	g.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
	synctest.Wait()
}

func (g *guarded) live(t *testing.T, want int) {
	t.Helper()
	snap, _ := g.engine.Snapshot("s")
	if countLive(snap) != want {
		t.Errorf("%d live instances are in use, want %d", countLive(snap), want)
	}
}

func (g *guarded) held(t *testing.T, want bool) {
	t.Helper()
	statuses := g.engine.Status()
	g.told.mu.Lock()
	defer g.told.mu.Unlock()
	for _, status := range statuses {
		if (status.Held != nil) != want || g.told.held[status.Name] != want {
			t.Errorf("%s: held %v, told %v, want %v", status.Name, status.Held, g.told.held[status.Name], want)
		}
	}
}

type heldObserver struct {
	noObserver
	mu   sync.Mutex
	held map[string]bool
	seen []bool
}

func (o *heldObserver) Held(pipeline string, held bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held[pipeline] = held
}

func (o *heldObserver) SnapshotReceived(_ sdk.Snapshot, held bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, held)
}

type lockedBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

func playGuarded(t *testing.T, guard Guard, store *fakeStateStore, scene func(t *testing.T, g *guarded)) {
	t.Helper()
	playTemplate(t, "v1", guard, store, scene)
}

func playTemplate(
	t *testing.T, template string, guard Guard, store *fakeStateStore, scene func(t *testing.T, g *guarded),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &guarded{
			world: &world{t: t, source: &playedSource{emit: make(chan func(func(sdk.Snapshot)))}, sink: newPlayedSink()},
			log:   &lockedBuilder{},
			told:  &heldObserver{held: map[string]bool{}},
			store: store,
		}
		g.templates = newPlayedTemplates(template)
		engine, err := New(Config{
			Sources: map[string]SourceConfig{"s": {Source: g.source, Guard: guard}},
			Pipelines: []PipelineConfig{
				{Name: "p", Source: "s", Templates: g.templates, Sink: g.sink},
				{Name: "q", Source: "s", Templates: newPlayedTemplates("w1"), Sink: newPlayedSink()},
			},
			StateStore: store, Observer: g.told,
			Log: slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
		if err != nil {
			t.Fatal(err)
		}
		g.engine = engine
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); engine.Run(ctx) }()
		synctest.Wait()
		scene(t, g)
		cancel()
		<-done
	})
}

var usual = Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second}

func TestAShrunkenCatalogueIsHeldForItsTime(t *testing.T) {
	playGuarded(t, usual, newFakeStateStore(), func(t *testing.T, g *guarded) {
		g.held(t, false)
		g.emit(crowd(20, 0))
		g.emit(crowd(1, 0))
		g.held(t, true)
		g.live(t, 20)
		time.Sleep(20 * time.Second)
		g.emit(crowd(2, 0)) // still too few, and the time goes on
		if got := g.engine.Status()[0].Held.Reason; got != "18 of 20 live instances are gone, more than max_drop allows" {
			t.Errorf("held because %q", got)
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		g.held(t, true)
		time.Sleep(time.Second)
		synctest.Wait()
		g.held(t, false)
		g.live(t, 2)
		if n := strings.Count(g.log.String(), "snapshot held"); n != 1 {
			t.Errorf("said %d times that it is held:\n%s", n, g.log)
		}
		if !slices.Equal(g.told.seen, []bool{false, true, true}) {
			t.Errorf("the observer saw %v", g.told.seen)
		}
		if !g.engine.Health(t.Context())[0].OK() {
			t.Error("held is no problem of health")
		}
	})
}

func TestACatalogueThatRecoversIsUsedAtOnce(t *testing.T) {
	playGuarded(t, usual, newFakeStateStore(), func(t *testing.T, g *guarded) {
		g.emit(crowd(20, 0))
		for range 3 {
			g.emit(crowd(0, 0))
			g.held(t, true)
			time.Sleep(29 * time.Second)
			g.emit(crowd(19, 1))
			g.held(t, false)
			g.live(t, 19)
		}
		time.Sleep(time.Hour)
		g.live(t, 19)
		if snap, _ := g.store.Snapshot("s"); countLive(snap) != 19 {
			t.Errorf("%d live instances are remembered", countLive(snap))
		}
	})
}

func TestAHeldCatalogueIsReleasedByHand(t *testing.T) {
	playGuarded(t, usual, newFakeStateStore(), func(t *testing.T, g *guarded) {
		if released, err := g.engine.Release("p"); released || err != nil {
			t.Errorf("released nothing: %v, %v", released, err)
		}
		if _, err := g.engine.Release("x"); err != ErrNoPipeline { //nolint:errorlint // the very same
			t.Errorf("no pipeline: %v", err)
		}
		g.emit(crowd(20, 0))
		g.emit(crowd(3, 0))
		if released, err := g.engine.Release("q"); !released || err != nil {
			t.Errorf("released: %v, %v", released, err)
		}
		synctest.Wait()
		g.held(t, false)
		g.live(t, 3)
		time.Sleep(time.Hour) // the timer of the hold is gone
		g.emit(crowd(3, 1))
		g.live(t, 3)
	})
}

func TestWithoutAGuardAllIsBelieved(t *testing.T) {
	playGuarded(t, Guard{}, newFakeStateStore(), func(t *testing.T, g *guarded) {
		g.emit(crowd(20, 0))
		g.emit(crowd(0, 0))
		g.live(t, 0)
	})
}

func TestTheSinkIsAskedAgainOnRequest(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		if err := w.engine.Apply("p"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.want("1 v1:a", "1 v1:a")
		if last := w.status().Last; last.Trigger != TriggerRequest || w.status().Generation != 1 {
			t.Errorf("last %+v of generation %d", last, w.status().Generation)
		}
		if err := w.engine.Apply("x"); err != ErrNoPipeline { //nolint:errorlint // the very same
			t.Errorf("no pipeline: %v", err)
		}
	})
}

func TestASourceThatGivesUpIsReported(t *testing.T) {
	play(t, func(w *world) {
		w.say("a")
		w.source.emit <- nil
		synctest.Wait()
		problems := w.engine.SourceHealth(t.Context(), "s").Problems
		if len(problems) != 1 || !strings.HasSuffix(problems[0], ": the catalogue is closed") {
			t.Errorf("problems %q", problems)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if problems := w.engine.SourceHealth(t.Context(), "s").Problems; len(problems) != 0 {
			t.Errorf("after it watches again: %q", problems)
		}
	})
}

func TestTemplateError_HasALineWhenItIsOver(t *testing.T) {
	play(t, func(w *world) {
		var log bytes.Buffer
		w.engine.current().pipelines[0].log = slog.New(slog.NewTextHandler(&log, nil))
		w.say("a")
		w.edit("broken:")
		broken := w.status().TemplateError != nil && !strings.Contains(log.String(), "template accepted again")
		w.edit("v2")
		if again := strings.Count(log.String(), "template accepted again"); !broken || again != 1 {
			t.Errorf("broken %v, and %d lines:\n%s", broken, again, &log)
		}
	})
}

// What was logged as a fault has a line when it is over.
func TestSourceThatGaveUp_LogsThatItEmitsAgain(t *testing.T) {
	play(t, func(w *world) {
		var log bytes.Buffer
		w.engine.current().sources["s"].log = slog.New(slog.NewTextHandler(&log, nil))
		w.source.emit <- nil
		time.Sleep(time.Minute)
		synctest.Wait()
		if strings.Contains(log.String(), "level=INFO") {
			t.Errorf("it has not emitted anything yet: %s", &log)
		}
		for _, service := range []string{"a", "b"} {
			w.say(service)
		}
		if n := strings.Count(log.String(), "level=INFO"); n != 1 {
			t.Errorf("%d lines tell that it emits again: %s", n, &log)
		}
	})
}

// A catalogue that shrinks in small steps within the time of Hold is held like one that shrinks at once.
func TestGuard_ShrinkInSmallSteps(t *testing.T) {
	guard := Guard{MaxDrop: 0.5, MinInstances: 10, Hold: 30 * time.Second}
	playGuarded(t, guard, newFakeStateStore(), func(t *testing.T, g *guarded) {
		for _, step := range []struct {
			after      time.Duration
			says, uses int
			held       bool
		}{
			{0, 100, 100, false},
			{time.Second, 51, 51, false},
			{time.Second, 26, 51, true}, // 74 of 100 within 30 s
			{time.Second, 13, 51, true},
			{time.Second, 60, 60, false},
			{40 * time.Second, 31, 31, false}, // 100 was longer ago
			{time.Second, 29, 31, true},       // 60 was not
			{31 * time.Second, 29, 29, false}, // its time was up
			{time.Second, 15, 15, false},      // and what was before does not count any more
		} {
			time.Sleep(step.after)
			g.emit(crowd(step.says, 0))
			g.live(t, step.uses)
			g.held(t, step.held)
		}
	})
}
