package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestSources_LastSnapshot(t *testing.T) {
	runWith(t, noStateStore{}, "v1", Guard{MaxDrop: 0.5, MinInstances: 2, Hold: time.Hour}, func(env *testEnv) {
		source := func() SourceStatus { return env.engine.Sources(env.t.Context())[0] }
		emit := func(sender string, services ...string) {
			snap := snapshotOf(services...)
			snap.Cause, snap.Sender = sdk.CausePush, sender
			env.source.emit <- func(emit func(sdk.Snapshot)) { emit(snap) }
			synctest.Wait()
		}
		if s := source(); s.Name != "s" || !s.LastSnapshot.IsZero() || s.Instances != nil {
			t.Errorf("before the first snapshot: %+v", s)
		}
		emit("192.0.2.1", "a", "b", "c", "d")
		first := source()
		if !first.LastSnapshot.Equal(time.Now()) || first.LastCause != sdk.CausePush || first.LastSender != "192.0.2.1" ||
			first.Services != 4 || first.Instances["Alive"] != 4 || first.Instances["Draining"] != 0 ||
			len(first.Instances) != 5 {
			t.Errorf("after the first snapshot: %+v", first)
		}
		time.Sleep(time.Second)
		emit("192.0.2.2", "a", "b", "c", "d") // changes nothing
		if s := source(); s.LastSnapshot.Sub(first.LastSnapshot) != time.Second || s.LastSender != "192.0.2.2" {
			t.Errorf("after a snapshot without a change: %+v", s)
		}
		time.Sleep(time.Second)
		emit("192.0.2.3", "a") // is held
		if s := source(); s.Held == nil || s.LastSender != "192.0.2.3" || s.Instances["Alive"] != 4 {
			t.Errorf("after a snapshot that is held: %+v", s)
		}
	})
}

// hungSource does not answer Health until release is closed, whatever its context is.
type hungSource struct {
	fakeSource
	release chan struct{}
}

func (s *hungSource) Health(context.Context) (sdk.Health, error) {
	<-s.release
	return sdk.Health{}, nil
}

func TestSources_HungSourceDelaysOnlyTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &hungSource{release: make(chan struct{})}
		e := startEngine(t, Config{
			Sources: map[string]SourceConfig{"hung": {Source: hung}, "quick": {Source: &fakeSource{}}},
			Log:     slog.New(slog.DiscardHandler),
		})
		for i, want := range []time.Duration{time.Second, unresponsiveTimeout, unresponsiveTimeout} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now() // the fake time of synctest
			all := e.Sources(ctx)
			cancel()
			if took := time.Since(began); took != want || all[0].Up || len(all[0].Problems) != 1 || !all[1].Up {
				t.Errorf("call %d took %s: %+v", i, took, all)
			}
		}
		close(hung.release)
		synctest.Wait()
		if s := e.Sources(t.Context())[0]; !s.Up {
			t.Errorf("after it has answered: %+v", s)
		}
	})
}

func TestStatus_NotInSyncWithTheTemplateOrTheRegistry(t *testing.T) {
	runWith(t, noStateStore{}, "v1", Guard{MaxDrop: 0.5, MinInstances: 2, Hold: time.Hour}, func(env *testEnv) {
		want := func(when string, want bool) {
			t.Helper()
			if got := env.status().InSync; got != want {
				t.Errorf("%s: in sync is %v", when, got)
			}
		}
		env.emitServices("a", "b", "c", "d")
		env.edit("broken")
		want("while the template is refused", false)
		env.edit("v1")
		want("after it is corrected", true)
		env.emitServices("a")
		want("while a snapshot is held", false)
		if _, err := env.engine.Release("p", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want("after it is released", true)
	})
}

type positionError struct{}

func (positionError) Error() string                             { return "no" }
func (positionError) Position() (file string, line, column int) { return "a.cfg", 3, 4 }

func TestPositionOf_WrappedError(t *testing.T) {
	err := errors.Join(errors.New("x"), &TemplateError{positionError{}})
	if at, ok := PositionOf(err); !ok || at != (Position{"a.cfg", 3, 4}) {
		t.Errorf("got %+v, %v", at, ok)
	}
	if at, ok := PositionOf(errors.New("x")); ok {
		t.Errorf("an error without a position is at %+v", at)
	}
}
