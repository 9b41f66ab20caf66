package engine

import (
	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A snapshotIndex finds owners in a snapshot. It belongs to one goroutine.
type snapshotIndex struct {
	snapshot sdk.Snapshot
	services map[string]*sdk.Service
	members  map[string]map[owner][]sdk.Instance // by service, made when asked for
}

func indexOf(snap sdk.Snapshot) *snapshotIndex {
	x := &snapshotIndex{
		snapshot: snap, services: make(map[string]*sdk.Service, len(snap.Services)),
		members: map[string]map[owner][]sdk.Instance{},
	}
	for i := range snap.Services {
		x.services[snap.Services[i].Name] = &snap.Services[i]
	}
	return x
}

// portrait returns what the snapshot says of the owner, and whether it knows it.
func (x *snapshotIndex) portrait(o owner) (sdk.Snapshot, bool) {
	service, known := x.services[o.service]
	if !known || o.service == "" {
		return sdk.Snapshot{}, false
	}
	instances := service.Instances
	if o.instance {
		instances = x.membersOf(service)[o]
	}
	return sdk.Snapshot{Services: []sdk.Service{{Name: o.service, Instances: instances}}}, len(instances) > 0
}

// hasAs reports whether the snapshot knows the owner and says the same of it as looked.
func (x *snapshotIndex) hasAs(o owner, looked sdk.Snapshot) bool {
	looks, known := x.portrait(o)
	return known && snapshots.Equal(looks, looked)
}

func (x *snapshotIndex) membersOf(service *sdk.Service) map[owner][]sdk.Instance {
	members, made := x.members[service.Name]
	if !made {
		members = make(map[owner][]sdk.Instance, len(service.Instances))
		for _, i := range service.Instances {
			who := owner{service.Name, true, i.Hostname, i.ID}
			members[who] = append(members[who], i)
		}
		x.members[service.Name] = members
	}
	return members
}
