package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func culpritSnapshot() sdk.Snapshot {
	return sdk.Snapshot{Services: sdk.GroupByName([]sdk.Instance{
		{Name: "chat", Hostname: "h", ID: "1"}, {Name: "web", Hostname: "h", ID: "1"}, {Name: "web", Hostname: "h", ID: "2"},
	})}
}

func charge1(snap sdk.Snapshot, who ...owner) culprits {
	c := culprits{}
	for _, o := range who {
		looked, _ := indexOf(snap).portrait(o)
		c.add(o, charge{looked: looked, reason: o.service})
	}
	return c
}

func TestWithoutCopies(t *testing.T) {
	web1, web2 := owner{"web", true, "h", "1"}, owner{"web", true, "h", "2"}
	for _, test := range []struct {
		name string
		left []owner
		want map[string]int // instances by service
	}{
		{"nobody", nil, map[string]int{"chat": 1, "web": 2}},
		{"an instance", []owner{web1}, map[string]int{"chat": 1, "web": 1}},
		{"all instances", []owner{web1, web2}, map[string]int{"chat": 1}},
		{"a service", []owner{{service: "web"}}, map[string]int{"chat": 1}},
		{"a service in the place of its instance", []owner{web1, {service: "web"}}, map[string]int{"chat": 1}},
		{"somebody else", []owner{{"chat", true, "h", "2"}}, map[string]int{"chat": 1, "web": 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			snap := culpritSnapshot()
			got := map[string]int{}
			for _, s := range charge1(snap, test.left...).without(snap).Services {
				got[s.Name] = len(s.Instances)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(culpritSnapshot(), snap); diff != "" {
				t.Errorf("the snapshot was modified (-before +after)\n%s", diff)
			}
		})
	}
}

func TestStillAsLongAsTheyLookTheSame(t *testing.T) {
	instance, service := owner{"web", true, "h", "1"}, owner{service: "web"}
	for _, test := range []struct {
		name   string
		change func(*sdk.Snapshot)
		want   map[owner]bool
	}{
		{"nothing", func(*sdk.Snapshot) {}, map[owner]bool{instance: true, service: true}},
		{"updated", func(s *sdk.Snapshot) { s.Services[1].Instances[0].Updated = time.Now() },
			map[owner]bool{instance: true, service: true}},
		{"another service", func(s *sdk.Snapshot) { s.Services[0].Instances[0].Image = "x" },
			map[owner]bool{instance: true, service: true}},
		{"another instance", func(s *sdk.Snapshot) { s.Services[1].Instances[1].Image = "x" },
			map[owner]bool{instance: true, service: false}},
		{"the instance", func(s *sdk.Snapshot) { s.Services[1].Instances[0].Image = "x" },
			map[owner]bool{instance: false, service: false}},
		{"gone", func(s *sdk.Snapshot) { s.Services = s.Services[:1] }, map[owner]bool{instance: false, service: false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := culpritSnapshot()
			test.change(&after)
			got := map[owner]bool{}
			for who := range test.want {
				charged := charge1(culpritSnapshot(), who)
				got[who] = len(charged.still(indexOf(after))) == 1
				if len(charged) != 1 {
					t.Error("what was charged is forgotten")
				}
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(owner{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
