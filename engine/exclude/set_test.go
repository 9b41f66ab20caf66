package exclude

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func testSnapshot() sdk.Snapshot {
	return sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{
		{Name: "chat", Hostname: "h", ID: "1"}, {Name: "web", Hostname: "h", ID: "1"}, {Name: "web", Hostname: "h", ID: "2"},
	})}
}

func setOf(snap sdk.Snapshot, owners ...owner) Set {
	s := Set{}
	for _, o := range owners {
		state, _ := NewIndex(snap).find(o)
		s.add(o, entry{state: state, reason: o.service})
	}
	return s
}

func TestSet_Filter(t *testing.T) {
	web1, web2 := owner{"web", true, "h", "1"}, owner{"web", true, "h", "2"}
	for _, test := range []struct {
		name     string
		excluded []owner
		want     map[string]int // instances by service
	}{
		{"empty", nil, map[string]int{"chat": 1, "web": 2}},
		{"an instance", []owner{web1}, map[string]int{"chat": 1, "web": 1}},
		{"all instances", []owner{web1, web2}, map[string]int{"chat": 1}},
		{"a service", []owner{{service: "web"}}, map[string]int{"chat": 1}},
		{"a service that replaces its instance", []owner{web1, {service: "web"}}, map[string]int{"chat": 1}},
		{"an unknown instance", []owner{{"chat", true, "h", "2"}}, map[string]int{"chat": 1, "web": 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			snap := testSnapshot()
			got := map[string]int{}
			for _, s := range setOf(snap, test.excluded...).Filter(snap).Services {
				got[s.Name] = len(s.Instances)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(testSnapshot(), snap); diff != "" {
				t.Errorf("the snapshot was modified (-before +after)\n%s", diff)
			}
		})
	}
}

func TestNewSet_Filter(t *testing.T) {
	for _, test := range []struct {
		name      string
		exclusion Exclusion
		want      string // the service that is left with all instances
		left      int
	}{
		{"an instance", Exclusion{Service: "web", Hostname: "h", ID: "1"}, "chat", 2},
		{"a service", Exclusion{Service: "web"}, "chat", 1},
		{"another service", Exclusion{Service: "chat"}, "web", 1},
	} {
		got := NewSet([]Exclusion{test.exclusion}).Filter(testSnapshot()).Services
		if len(got) != test.left || got[0].Name != test.want {
			t.Errorf("%s: left are %+v", test.name, got)
		}
	}
}

func TestSet_Current(t *testing.T) {
	instance, service := owner{"web", true, "h", "1"}, owner{service: "web"}
	for _, test := range []struct {
		name   string
		change func(*sdk.Snapshot)
		want   map[owner]bool
	}{
		{"no change", func(*sdk.Snapshot) {}, map[owner]bool{instance: true, service: true}},
		{"only Updated changed", func(s *sdk.Snapshot) { s.Services[1].Instances[0].Updated = time.Now() },
			map[owner]bool{instance: true, service: true}},
		{"another service changed", func(s *sdk.Snapshot) { s.Services[0].Instances[0].Image = "x" },
			map[owner]bool{instance: true, service: true}},
		{"another instance changed", func(s *sdk.Snapshot) { s.Services[1].Instances[1].Image = "x" },
			map[owner]bool{instance: true, service: false}},
		{"the instance changed", func(s *sdk.Snapshot) { s.Services[1].Instances[0].Image = "x" },
			map[owner]bool{instance: false, service: false}},
		{"the service is gone", func(s *sdk.Snapshot) { s.Services = s.Services[:1] },
			map[owner]bool{instance: false, service: false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := testSnapshot()
			test.change(&after)
			got := map[owner]bool{}
			for o := range test.want {
				excluded := setOf(testSnapshot(), o)
				got[o] = len(excluded.Current(NewIndex(after))) == 1
				if len(excluded) != 1 {
					t.Error("Current modified the set")
				}
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(owner{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
