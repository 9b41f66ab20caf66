package engine

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestAppliedLog_SummarisesFrequentChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logBuffer
		l := &appliedLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		generation := uint64(0)
		add := func(action string) {
			generation++
			l.add(generation, false, &Attempt{Result: sdk.Result{Action: action}})
		}
		lines := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			got := strings.Split(strings.TrimSpace(out.String()), "\n")
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.Contains(got[min(i, len(got)-1)], want[i])
			}
			if out.Reset(); !ok {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		add(sdk.ActionRuntime)
		lines("the first change", "generation=1 action=runtime")
		for range 100 {
			add(sdk.ActionRuntime)
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		add(sdk.ActionReload)
		lines("a reload among them", "changes=100 generation=101 action=runtime", "generation=102 action=reload")
		for range 1000 { // a minute
			add(sdk.ActionRuntime)
			time.Sleep(60 * time.Millisecond)
		}
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n > 7 {
			t.Errorf("%d lines in a minute", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		out.Reset()
		add(sdk.ActionWritten)
		lines("a change after a pause", "action=written")
		add(sdk.ActionWritten)
		l.flush()
		lines("the end", "changes=1 generation=1104")
		l.add(generation, true, &Attempt{Result: sdk.Result{Action: sdk.ActionUnchanged}})
		if out.Len() > 0 {
			t.Errorf("applied again without effect: %s", &out)
		}
	})
}
