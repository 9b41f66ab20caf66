package server

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func applied(generation uint64, action, trigger string, seconds float64) history.Change {
	return history.Change{
		Generation: generation, Outcome: history.OutcomeApplied, Action: action,
		Trigger: history.Trigger{Kind: trigger}, Seconds: seconds,
	}
}

// alive returns a snapshot with n instances that are alive, and one that is not.
func alive(source string, n int) sdk.Snapshot {
	instances := make([]sdk.Instance, n+1)
	instances[n].Status = sdk.Unhealthy
	return sdk.Snapshot{Source: source, Services: []sdk.Service{{Name: "web", Instances: instances}}}
}

func ptr(n int) *int { return &n }

func TestSeries_Points(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock begins at a full minute
		s := NewSeries()
		began := time.Now().UTC()
		s.Changed("p", applied(1, sdk.ActionRestart, history.TriggerStart, 9))
		s.Changed("p", history.Change{Generation: 2, Outcome: history.OutcomeDeferred})
		time.Sleep(time.Minute)
		s.SnapshotReceived(alive("s", 3), false)
		s.SnapshotReceived(alive("s", 9), true) // held
		s.SnapshotReceived(alive("other", 7), false)
		s.Changed("p", applied(2, sdk.ActionReload, history.TriggerPush, 0.5)) // the deferred one
		s.Changed("p", applied(2, sdk.ActionReload, history.TriggerPush, 0.5)) // updated once more
		s.Changed("p", applied(4, sdk.ActionRuntime, history.TriggerResync, 0.25))
		s.Changed("p", applied(3, sdk.ActionRuntime, history.TriggerRequest, 7))
		s.Changed("p", history.Change{Generation: 5, Outcome: history.OutcomeRejected, Action: sdk.ActionReload})
		s.Changed("other", applied(9, sdk.ActionReload, history.TriggerPush, 100))
		time.Sleep(2 * time.Minute)
		s.SnapshotReceived(alive("s", 4), false)
		want := []Point{
			{Time: began, Changes: 1, Reloads: 1},
			{
				Time: began.Add(time.Minute), Changes: 3, Reloads: 1,
				ConvergenceMax: 0.5, ConvergenceSum: 0.75, ConvergenceCount: 2, Instances: ptr(3),
			},
			{Time: began.Add(2 * time.Minute), Instances: ptr(3)},
			{Time: began.Add(3 * time.Minute), Instances: ptr(4)},
		}
		if diff := cmp.Diff(want, s.points("p", "s", time.Time{})); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(want[2:], s.points("p", "s", began.Add(2*time.Minute+time.Second))); diff != "" {
			t.Errorf("since the third minute (-want +got)\n%s", diff)
		}
		if got := s.points("p", "s", began.Add(time.Hour)); len(got) != 0 {
			t.Errorf("since a time to come: %v", got)
		}
	})
}

func TestSeries_KeepsSixHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSeries()
		s.SnapshotReceived(alive("s", 5), false)
		for minute := range uint64(1000) {
			s.Changed("p", applied(minute, sdk.ActionRuntime, history.TriggerPush, float64(minute)))
			time.Sleep(time.Minute)
		}
		got := s.points("p", "s", time.Time{})
		if len(got) != seriesLength || !got[len(got)-1].Time.Equal(time.Now().Truncate(time.Minute)) {
			t.Fatalf("got %d points until %v", len(got), got[len(got)-1].Time)
		}
		for i, p := range got[:len(got)-1] { // nothing has happened in the last one
			if p.ConvergenceMax != float64(1000-seriesLength+1+i) || p.Changes != 1 || p.Instances == nil || *p.Instances != 5 {
				t.Fatalf("point %d is %+v", i, p)
			}
		}
		time.Sleep(100 * time.Hour)
		for _, p := range s.points("p", "s", time.Time{}) {
			if p.Changes != 0 || p.ConvergenceMax != 0 || p.Instances == nil || *p.Instances != 5 {
				t.Fatalf("after a long pause: %+v", p)
			}
		}
	})
}

func TestSeries_RemovedComponents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSeries()
		for _, name := range []string{"stays", "goes"} {
			s.Changed(name, applied(1, sdk.ActionReload, history.TriggerPush, 1))
			s.SnapshotReceived(alive(name, 1), false)
		}
		s.SetComponents(Components{Pipelines: []string{"stays"}, Sources: []string{"stays"}})
		if p := s.points("stays", "stays", time.Time{})[0]; p.Changes != 1 || p.Instances == nil {
			t.Errorf("the pipeline that stays has %+v", p)
		}
		p := s.points("goes", "goes", time.Time{})[0]
		if kept := len(s.pipelines) + len(s.instances); p.Changes != 0 || p.Instances != nil || kept != 2 {
			t.Errorf("the pipeline that was removed has %+v", p)
		}
	})
}

func TestSeries_Answer(t *testing.T) {
	s := newTestServer(t, true)
	s.emit()
	s.cfg.Series.Changed("haproxy", applied(1_000_000, sdk.ActionReload, history.TriggerPush, 1))
	code, body := s.ask("GET", "/api/v1/pipelines/haproxy/series")
	var got PipelineSeries
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got.IntervalSeconds != 60 {
		t.Fatalf("got %d %s, %v", code, body, err)
	}
	changes, last := 0, got.Points[len(got.Points)-1]
	for _, p := range got.Points {
		changes += p.Changes
	}
	if changes == 0 || last.Instances == nil || *last.Instances != 1 {
		t.Errorf("got %s", body)
	}
	s.want(t, "GET", "/api/v1/pipelines/haproxy/series?since=2999-01-01T00:00:00Z", 200, `{"interval_seconds":60,"points":[]}`)
	s.want(t, "GET", "/api/v1/pipelines/haproxy/series?since=today", 400,
		`{"errors":["parameter since: it must be a time such as 2026-01-02T15:04:05Z"]}`)
	s.want(t, "GET", "/api/v1/pipelines/x/series", 404,
		`{"errors":["there is no such pipeline; GET /api/v1/pipelines lists them"]}`)
	s.want(t, "POST", "/api/v1/pipelines/haproxy/series", 405,
		`{"errors":["this method is not allowed here; allowed: GET, HEAD"]}`)
}
