package exclude

import (
	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Index finds services and instances in a snapshot. It must not be used by several goroutines at once.
type Index struct {
	snapshot  sdk.Snapshot
	services  map[string]*sdk.Service
	instances map[string]map[owner][]sdk.Instance // by service, filled on demand
}

// NewIndex returns an index of snap, which must not change afterwards.
func NewIndex(snap sdk.Snapshot) *Index {
	x := &Index{
		snapshot: snap, services: make(map[string]*sdk.Service, len(snap.Services)),
		instances: map[string]map[owner][]sdk.Instance{},
	}
	for i := range snap.Services {
		x.services[snap.Services[i].Name] = &snap.Services[i]
	}
	return x
}

// find returns a snapshot of the owner alone, and false if the snapshot does not have it.
func (x *Index) find(o owner) (sdk.Snapshot, bool) {
	service, found := x.services[o.service]
	if !found || o.service == "" {
		return sdk.Snapshot{}, false
	}
	instances := service.Instances
	if o.instance {
		instances = x.instancesOf(service)[o]
	}
	return sdk.Snapshot{Services: []sdk.Service{{Name: o.service, Instances: instances}}}, len(instances) > 0
}

// contains reports whether the snapshot has the owner as it is in state, which find returned.
func (x *Index) contains(o owner, state sdk.Snapshot) bool {
	found, ok := x.find(o)
	return ok && snapshots.Equal(found, state)
}

func (x *Index) instancesOf(service *sdk.Service) map[owner][]sdk.Instance {
	instances, ok := x.instances[service.Name]
	if !ok {
		instances = make(map[owner][]sdk.Instance, len(service.Instances))
		for i := range service.Instances {
			o := instanceOwner(service.Name, &service.Instances[i])
			instances[o] = append(instances[o], service.Instances[i])
		}
		x.instances[service.Name] = instances
	}
	return instances
}
