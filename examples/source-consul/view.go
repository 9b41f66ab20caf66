package main

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A view has the instances of each service that was read.
type view struct {
	log       *slog.Logger
	instances map[string][]sdk.Instance // by service, in the order of a snapshot
	faults    map[fault]bool            // of the instances that are excluded, so that each is logged once
}

type fault struct{ service, node, id, text string }

func newView(log *slog.Logger) *view {
	return &view{log: log, instances: map[string][]sdk.Instance{}, faults: map[fault]bool{}}
}

// replace replaces the instances of a service. It returns one of the differences, and nil if there is none.
func (v *view) replace(service string, entries []*api.ServiceEntry) *sdk.Change {
	faults := map[fault]bool{}
	var instances []sdk.Instance
	for _, entry := range entries {
		instance, err := decode(service, entry)
		if err == nil {
			instances = append(instances, instance)
			continue
		}
		f := fault{service, instance.Hostname, instance.ID, err.Error()}
		if faults[f] = true; !v.faults[f] {
			v.log.Warn("invalid metadata, excluding the instance", "service", service, "node", f.node, "id", f.id, "error", err)
		}
	}
	maps.DeleteFunc(v.faults, func(f fault, _ bool) bool { return f.service == service })
	maps.Copy(v.faults, faults)

	before := v.instances[service]
	if groups := sdk.GroupByName(instances); len(groups) > 0 {
		instances = groups[0].Instances
	}
	v.instances[service] = instances
	return difference(before, instances)
}

// remove removes a service that is no longer registered.
func (v *view) remove(service string) *sdk.Change {
	change := v.replace(service, nil)
	delete(v.instances, service)
	return change
}

func (v *view) services() []sdk.Service {
	var services []sdk.Service
	for _, name := range slices.Sorted(maps.Keys(v.instances)) {
		if instances := v.instances[name]; len(instances) > 0 {
			services = append(services, sdk.Service{Name: name, Instances: instances})
		}
	}
	return services
}

// difference returns the first difference between two lists in the same order, and nil if there is none.
func difference(before, after []sdk.Instance) *sdk.Change {
	if slices.EqualFunc(before, after, equal) {
		return nil
	}
	known := make(map[place]sdk.Instance, len(before))
	for _, i := range before {
		known[placeOf(i)] = i
	}
	for _, i := range after {
		old, ok := known[placeOf(i)]
		delete(known, placeOf(i))
		switch {
		case !ok:
			return &sdk.Change{Instance: i, PreviousStatus: sdk.Unknown, Time: time.Now()}
		case !equal(old, i):
			return &sdk.Change{Instance: i, PreviousStatus: old.Status, Time: time.Now()}
		}
	}
	for _, i := range before {
		if _, gone := known[placeOf(i)]; gone {
			change := &sdk.Change{Instance: i, PreviousStatus: i.Status, Time: time.Now()}
			change.Instance.Status = sdk.Tombstone
			return change
		}
	}
	return nil
}

// A place identifies an instance of a service: Consul's service IDs are unique on a node only.
type place struct{ node, id string }

func placeOf(i sdk.Instance) place { return place{i.Hostname, i.ID} }

func equal(a, b sdk.Instance) bool {
	return placeOf(a) == placeOf(b) && a.ProxyMode == b.ProxyMode && a.Status == b.Status &&
		slices.Equal(a.Ports, b.Ports) && maps.Equal(a.Labels, b.Labels)
}
