package engine

import (
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestHealth_RecentCrashes(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		log, err := env.engine.History("p")
		if err != nil {
			t.Fatal(err)
		}
		crash := func(attempts int, reason string) {
			log.Put(history.Change{
				Generation: log.Next(), Event: sdk.EventCrashed, Outcome: history.OutcomeEvent, Attempts: attempts,
				Reason: reason, Updated: time.Now(),
			}, "")
		}
		want := func(n int, last string) {
			t.Helper()
			if h := env.engine.Health(env.t.Context())[0]; h.Crashes != n || h.LastCrash != last {
				t.Errorf("%d crashes, the last %q; want %d, %q", h.Crashes, h.LastCrash, n, last)
			}
		}
		want(0, "")
		crash(1, "first")
		want(1, "first")
		time.Sleep(CrashWindow / 2)
		crash(3, "second")
		env.emitServices("a") // is a change, and no crash
		want(4, "second")
		time.Sleep(CrashWindow/2 + time.Second)
		want(3, "second")
		time.Sleep(CrashWindow)
		want(0, "")
	})
}
