package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// since returns the times of all instances by their IDs.
func (env *testEnv) since() map[string]time.Time {
	env.t.Helper()
	services, err := env.engine.Instances("p")
	if err != nil {
		env.t.Fatal(err)
	}
	since := map[string]time.Time{}
	for _, service := range services {
		if len(service.Since) != len(service.Instances) {
			env.t.Fatalf("%s has %d instances and %d times", service.Name, len(service.Instances), len(service.Since))
		}
		for i, instance := range service.Instances {
			since[instance.ID] = service.Since[i]
		}
	}
	return since
}

func TestInstances_Since(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		if got := env.since(); len(got) != 0 {
			t.Errorf("before the first snapshot: %v", got)
		}
		began := time.Now()
		created := began.Add(-time.Hour)
		instance := func(service, id string, status sdk.Status) sdk.Instance {
			return sdk.Instance{ID: id, Name: service, Hostname: "h-" + id, Status: status, Created: created}
		}
		first := []sdk.Instance{
			instance("web", "alive", sdk.Alive), instance("web", "sick", sdk.Unhealthy), instance("db", "stays", sdk.Alive),
		}
		future := instance("db", "future", sdk.Alive)
		future.Created = began.Add(time.Hour)
		env.emit(append(slices.Clone(first), future))
		want := map[string]time.Time{"alive": created, "sick": began, "stays": created, "future": began}
		if diff := cmp.Diff(want, env.since()); diff != "" {
			t.Fatalf("the first snapshot (-want +got)\n%s", diff)
		}

		time.Sleep(time.Minute)
		now := time.Now()
		first[0].Status, first[0].Updated = sdk.Draining, now
		first[1].Updated = now // a heartbeat
		env.emit(append(slices.Clone(first), instance("web", "new", sdk.Alive), instance("aaa", "first", sdk.Alive)))
		want = map[string]time.Time{"alive": now, "sick": began, "stays": created, "new": now, "first": now}
		if diff := cmp.Diff(want, env.since()); diff != "" {
			t.Fatalf("the second snapshot (-want +got)\n%s", diff)
		}

		time.Sleep(time.Minute)
		env.emit(nil)
		env.emit(first[1:2]) // it comes back
		if diff := cmp.Diff(map[string]time.Time{"sick": time.Now()}, env.since()); diff != "" {
			t.Errorf("the last snapshot (-want +got)\n%s", diff)
		}
	})
}

func TestInstances_UnknownPipeline(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		if _, err := env.engine.Instances("x"); err != ErrNoPipeline { //nolint:errorlint // documented to be this one
			t.Errorf("got %v", err)
		}
	})
}

func TestWithSince_SharesUnchangedServices(t *testing.T) {
	services := sdk.GroupByName([]sdk.Instance{{ID: "1", Name: "a"}, {ID: "1", Name: "b"}})
	before := withSince(nil, sdk.Snapshot{Taken: time.Unix(1, 0), Services: services})
	services[1].Instances = slices.Clone(services[1].Instances)
	after := withSince(before, sdk.Snapshot{Taken: time.Unix(2, 0), Services: services})
	if &before[0].Since[0] != &after[0].Since[0] || &before[1].Since[0] == &after[1].Since[0] {
		t.Error("only the times of the changed service are to be copied")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// BenchmarkWithSince is the cost of a snapshot of 10,000 instances in which those of one service have changed.
func BenchmarkWithSince(b *testing.B) {
	var instances []sdk.Instance
	for i := range 10_000 {
		instances = append(instances, sdk.Instance{ID: fmt.Sprint(i), Name: fmt.Sprint("service-", i/100), Hostname: "h"})
	}
	snap := sdk.Snapshot{Taken: time.Now(), Services: sdk.GroupByName(instances)}
	services := firstSince(snap)
	for b.Loop() {
		snap.Services[7].Instances = slices.Clone(snap.Services[7].Instances)
		services = withSince(services, snap)
	}
}
