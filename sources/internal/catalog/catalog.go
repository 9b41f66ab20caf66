// Package catalog decodes and encodes the service catalogues of a Sidecar. The sidecar source and the file source share it.
//
// There are four encodings: a whole state (GET /state.json, a watch stream), a state changed event (what a Sidecar posts
// to its listeners), a by-service object (a watch stream: a map from service name to a list of instances), and a
// services document (GET /services.json).
//
// The functions depend on nothing but their arguments: they read no clock, and leave [sdk.Snapshot.Source] and
// [sdk.Snapshot.Taken] empty. They may be called from several goroutines at once.
package catalog

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The types below have the field names of a Sidecar's JSON. Only the parts without which there is no catalogue must have the
// right type; the rest is lenient. Pointers distinguish a missing or null part from an empty one.

type state struct {
	Servers     map[string]*server
	LastChanged lenient[time.Time]
	ClusterName lenient[string]
}

type server struct {
	Services map[string]*entry
}

type event struct {
	State       *state
	ChangeEvent lenient[*change]
}

type change struct {
	Service        *entry
	PreviousStatus sdk.Status
	Time           time.Time
}

type services struct {
	Services    byService
	ClusterName lenient[string]
}

type byService map[string][]*entry

func (s *state) snapshot() sdk.Snapshot {
	var instances []sdk.Instance
	for hostname, srv := range s.Servers {
		if srv == nil {
			continue
		}
		for id, e := range srv.Services {
			if e != nil {
				e.setPlace(hostname, id)
				instances = append(instances, e.Instance)
			}
		}
	}
	return sdk.Snapshot{
		Cluster: s.ClusterName.value, Changed: s.LastChanged.value, Services: sdk.GroupByName(instances),
	}
}

func (e *event) snapshot() sdk.Snapshot {
	snap := e.State.snapshot()
	if c := e.ChangeEvent.value; c != nil && c.Service != nil && c.Service.Invalid == "" {
		snap.Last = &sdk.Change{Instance: c.Service.Instance, PreviousStatus: c.PreviousStatus, Time: c.Time}
	}
	return snap
}

func (s *services) snapshot() sdk.Snapshot {
	snap := s.Services.snapshot()
	snap.Cluster = s.ClusterName.value
	return snap
}

func (b byService) snapshot() sdk.Snapshot {
	var instances []sdk.Instance
	for name, list := range b {
		for _, e := range list {
			if e == nil {
				continue
			}
			if e.Invalid != "" && e.Name == "" {
				e.Name = name
			}
			instances = append(instances, e.Instance)
		}
	}
	return sdk.Snapshot{Services: sdk.GroupByName(instances)}
}

// hasNames reports whether any instance has a name. Without one a map of lists is no catalogue: the answer of almost any
// other program could be decoded as empty instances.
func (b byService) hasNames() bool {
	for _, list := range b {
		if slices.ContainsFunc(list, func(i *entry) bool { return i != nil && i.Name != "" }) {
			return true
		}
	}
	return false
}
