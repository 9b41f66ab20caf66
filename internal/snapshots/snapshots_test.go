package snapshots

import (
	"slices"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestEqual(t *testing.T) {
	whole := func() sdk.Instance {
		return sdk.Instance{
			ID: "1", Name: "web", Image: "web:1", Hostname: "h", ProxyMode: "http", Status: sdk.Alive,
			Ports: []sdk.Port{{Type: "tcp", Port: 31000, ServicePort: 80, IP: "10.0.0.1"}}, Labels: map[string]string{"a": "b"},
		}
	}
	snapshot := func(i sdk.Instance) sdk.Snapshot {
		return sdk.Snapshot{Cluster: "c", Services: sdk.GroupByName([]sdk.Instance{i})}
	}
	for name, change := range map[string]func(*sdk.Instance){
		"ID":        func(i *sdk.Instance) { i.ID = "2" },
		"Name":      func(i *sdk.Instance) { i.Name = "x" },
		"Image":     func(i *sdk.Instance) { i.Image = "web:2" },
		"Hostname":  func(i *sdk.Instance) { i.Hostname = "x" },
		"ProxyMode": func(i *sdk.Instance) { i.ProxyMode = "tcp" },
		"Status":    func(i *sdk.Instance) { i.Status = sdk.Draining },
		"Created":   func(i *sdk.Instance) { i.Created = time.Unix(1, 0) },
		"Ports":     func(i *sdk.Instance) { i.Ports[0].IP = "10.0.0.2" },
		"Labels":    func(i *sdk.Instance) { i.Labels["a"] = "c" },
	} {
		changed := whole()
		change(&changed)
		if Equal(snapshot(whole()), snapshot(changed)) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
	touched := whole()
	touched.Updated = time.Now()
	same := snapshot(touched)
	same.Taken, same.Changed, same.Last, same.Source = time.Now(), time.Now(), &sdk.Change{}, "x"
	if !Equal(snapshot(whole()), same) {
		t.Error("a field counts that says nothing about the configuration")
	}
}

func TestShareInstances(t *testing.T) {
	t.Parallel()
	list := []sdk.Instance{{ID: "1"}, {ID: "2"}}
	for _, test := range []struct {
		a, b []sdk.Instance
		want bool
	}{
		{list, list, true}, {list, slices.Clone(list), false}, {list, list[:1], false}, {list[1:], list[:1], false},
		{nil, nil, false}, {list[:0], list[:0], false},
	} {
		if got := ShareInstances(sdk.Service{Instances: test.a}, sdk.Service{Instances: test.b}); got != test.want {
			t.Errorf("%v and %v: %v", test.a, test.b, got)
		}
	}
}
