package sdk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGroupByNameDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var instances []Instance
	for range 200 {
		instances = append(instances, Instance{
			Name: fmt.Sprint("s", random.IntN(5)), Hostname: fmt.Sprint("h", random.IntN(4)), ID: fmt.Sprint(random.IntN(4)),
			Image: fmt.Sprint(random.IntN(2)), Status: Status(random.IntN(5)), Created: time.Unix(random.Int64N(3), 0),
			Ports:  []Port{{Port: random.Int64N(3)}},
			Labels: map[string]string{"a": fmt.Sprint(random.IntN(3)), "b": ""},
		})
	}
	want := GroupByName(instances)
	for range 20 {
		random.Shuffle(len(instances), func(i, j int) { instances[i], instances[j] = instances[j], instances[i] })
		if diff := cmp.Diff(want, GroupByName(instances)); diff != "" {
			t.Fatal(diff)
		}
	}
	for i := 1; i < len(want); i++ {
		if want[i-1].Name >= want[i].Name {
			t.Errorf("%s comes before %s", want[i-1].Name, want[i].Name)
		}
	}
}

func TestSameCatalogueLooksAtWhatMatters(t *testing.T) {
	whole := func() Instance {
		return Instance{
			ID: "1", Name: "web", Image: "web:1", Hostname: "h", ProxyMode: "http", Status: Alive,
			Ports: []Port{{"tcp", 31000, 80, "10.0.0.1"}}, Labels: map[string]string{"a": "b"},
		}
	}
	snapshot := func(i Instance) Snapshot { return Snapshot{Cluster: "c", Services: GroupByName([]Instance{i})} }
	for name, change := range map[string]func(*Instance){
		"ID":        func(i *Instance) { i.ID = "2" },
		"Name":      func(i *Instance) { i.Name = "x" },
		"Image":     func(i *Instance) { i.Image = "web:2" },
		"Hostname":  func(i *Instance) { i.Hostname = "x" },
		"ProxyMode": func(i *Instance) { i.ProxyMode = "tcp" },
		"Status":    func(i *Instance) { i.Status = Draining },
		"Created":   func(i *Instance) { i.Created = time.Unix(1, 0) },
		"Ports":     func(i *Instance) { i.Ports[0].IP = "10.0.0.2" },
		"Labels":    func(i *Instance) { i.Labels["a"] = "c" },
	} {
		changed := whole()
		change(&changed)
		if snapshot(whole()).SameCatalogue(snapshot(changed)) {
			t.Errorf("a change of %s goes unseen", name)
		}
	}
	touched := whole()
	touched.Updated = time.Now()
	same := snapshot(touched)
	same.Taken, same.Changed, same.Last, same.Source = time.Now(), time.Now(), &Change{}, "x"
	if !snapshot(whole()).SameCatalogue(same) {
		t.Error("what says nothing about the configuration counts")
	}
}

func TestVersionFollowsSidecar(t *testing.T) {
	for image, want := range map[string]string{
		"web:1.2": "1.2", "web": "web", "registry:5000/web:1.2": "5000/web", "": "",
	} {
		if got := (Instance{Image: image}).Version(); got != want {
			t.Errorf("%q has version %q, want %q", image, got, want)
		}
	}
}

func TestStatusHasSidecarsNames(t *testing.T) {
	for status, want := range map[Status]string{
		0: "Alive", 1: "Tombstone", 2: "Unhealthy", 3: "Unknown", 4: "Draining", 5: "Tombstone", -1: "Tombstone",
	} {
		if got := (Instance{Status: status}).StatusString(); got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}

func TestServicesShare(t *testing.T) {
	t.Parallel()
	list := []Instance{{ID: "1"}, {ID: "2"}}
	of := func(instances []Instance) Service { return Service{Instances: instances} }
	for _, test := range []struct {
		a, b []Instance
		want bool
	}{
		{list, list, true}, {list, slices.Clone(list), false}, {list, list[:1], false}, {list[1:], list[:1], false},
		{nil, nil, false}, {list[:0], list[:0], false},
	} {
		if got := of(test.a).Shares(of(test.b)); got != test.want {
			t.Errorf("%v and %v: %v", test.a, test.b, got)
		}
	}
}
