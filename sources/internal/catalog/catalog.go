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
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The types below have the field names and the field order of the recorded traffic. An instance needs no type of its
// own: sdk.Instance promises Sidecar's names. Pointers tell a missing or null part from an empty one.

type state struct {
	Servers     map[string]*server
	LastChanged time.Time
	ClusterName string
	Hostname    string
}

type server struct {
	Name        string
	Services    map[string]*sdk.Instance
	LastUpdated time.Time
	LastChanged time.Time
}

type event struct {
	State       *state
	ChangeEvent *change
}

type change struct {
	Service        *sdk.Instance
	PreviousStatus sdk.Status
	Time           time.Time
}

type services struct {
	Services    byService
	ClusterName string
}

type byService map[string][]*sdk.Instance

func (s *state) snapshot() sdk.Snapshot {
	var instances []sdk.Instance
	for _, srv := range s.Servers {
		if srv != nil {
			instances = appendPresent(instances, slices.Collect(maps.Values(srv.Services)))
		}
	}
	return sdk.Snapshot{Cluster: s.ClusterName, Changed: s.LastChanged, Services: sdk.GroupByName(instances)}
}

func (e *event) snapshot() sdk.Snapshot {
	snap := e.State.snapshot()
	if c := e.ChangeEvent; c != nil && c.Service != nil {
		snap.Last = &sdk.Change{Instance: *c.Service, PreviousStatus: c.PreviousStatus, Time: c.Time}
	}
	return snap
}

func (s *services) snapshot() sdk.Snapshot {
	snap := s.Services.snapshot()
	snap.Cluster = s.ClusterName
	return snap
}

func (b byService) snapshot() sdk.Snapshot {
	var instances []sdk.Instance
	for _, list := range b {
		instances = appendPresent(instances, list)
	}
	return sdk.Snapshot{Services: sdk.GroupByName(instances)}
}

// named reports whether any instance says its name, which is what makes a map of lists a catalogue: almost any other
// program's answer could be read as instances with nothing in them.
func (b byService) named() bool {
	for _, list := range b {
		if slices.ContainsFunc(list, func(i *sdk.Instance) bool { return i != nil && i.Name != "" }) {
			return true
		}
	}
	return false
}

func appendPresent(to []sdk.Instance, from []*sdk.Instance) []sdk.Instance {
	for _, i := range from {
		if i != nil {
			to = append(to, *i)
		}
	}
	return to
}
