package report

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, report := With(t.Context())
		step := func(name string, took time.Duration, within func()) {
			defer Step(ctx, name)()
			time.Sleep(took)
			within()
		}
		step("check", time.Second, func() { step("resolve", time.Minute, func() {}) })
		time.Sleep(time.Second)
		step("write", time.Millisecond, func() {})
		Commands(ctx, []sdk.Command{{Sent: "a", Answer: "b"}})
		result := report.Result(sdk.Result{Reason: "r"})
		want := []sdk.Step{
			{Name: "check", Took: time.Second + time.Minute},
			{Name: "write", Start: 2*time.Second + time.Minute, Took: time.Millisecond},
		}
		if !slices.Equal(result.Steps, want) || result.Took != 2*time.Second+time.Minute+time.Millisecond ||
			result.Reason != "r" || len(result.Commands) != 1 {
			t.Errorf("got %+v", result)
		}
	})
}

func TestStep_WithoutAReport(t *testing.T) {
	Step(t.Context(), "check")()
	Commands(t.Context(), []sdk.Command{{Sent: "a"}})
}
