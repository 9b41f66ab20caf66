// Package catalog is the codec of the encodings in which a Sidecar tells its catalogue of services. Both the sidecar
// and the file source read them, which is why they share it.
//
// There are four of them: a whole state (GET /state.json, a watch stream), a state changed event (what a Sidecar posts
// to its listeners), a by-service object (a watch stream, a map of service name to a list of instances) and a
// services document (GET /services.json).
//
// Everything here is a pure function of the bytes that it is given: nobody's clock is read, and [sdk.Snapshot.Source]
// and [sdk.Snapshot.Taken] stay empty. All of it may be called from several goroutines at once.
package catalog

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The types below have the field names of the recorded traffic. What a catalogue says beside its instances is read so that
// nothing of the wrong type costs them: only a part without which there is no catalogue has to be what it is called. Pointers
// tell a missing or null part from an empty one.

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
				e.named(hostname, id)
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

// named reports whether any instance says its name, which is what makes a map of lists a catalogue: almost any other
// program's answer could be read as instances with nothing in them.
func (b byService) named() bool {
	for _, list := range b {
		if slices.ContainsFunc(list, func(i *entry) bool { return i != nil && i.Name != "" }) {
			return true
		}
	}
	return false
}
