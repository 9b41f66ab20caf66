package catalog

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// EncodeState writes s as a Sidecar encodes its state. Equal snapshots give equal bytes, and [Decode] makes the same
// instances, cluster and time of change of them again. Two things a Sidecar knows are not in a snapshot and are
// replaced by the nearest that is: a server's LastChanged by the whole state's, and the Hostname of the answering
// Sidecar by an empty one.
//
// The error is w's, or says which time cannot be written because its year has more than four digits.
func EncodeState(w io.Writer, s sdk.Snapshot) error {
	content, err := json.Marshal(toState(s))
	if err != nil {
		return fmt.Errorf("the state has a time that JSON cannot hold: %w", err)
	}
	_, err = w.Write(content)
	return err
}

// The types below have the field names and the field order of the recorded traffic. An instance needs no type of its own:
// sdk.Instance promises Sidecar's names.

type writtenState struct {
	Servers     map[string]*writtenServer
	LastChanged time.Time
	ClusterName string
	Hostname    string
}

type writtenServer struct {
	Name        string
	Services    map[string]*sdk.Instance
	LastUpdated time.Time
	LastChanged time.Time
}

func toState(s sdk.Snapshot) writtenState {
	servers := map[string]*writtenServer{}
	for _, svc := range s.Services {
		for _, instance := range svc.Instances {
			srv := servers[instance.Hostname]
			if srv == nil {
				srv = newServer(instance.Hostname, s.Changed)
				servers[instance.Hostname] = srv
			}
			srv.add(instance)
		}
	}
	return writtenState{Servers: servers, LastChanged: s.Changed, ClusterName: s.Cluster}
}

func newServer(name string, changed time.Time) *writtenServer {
	return &writtenServer{Name: name, Services: map[string]*sdk.Instance{}, LastChanged: changed}
}

func (s *writtenServer) add(instance sdk.Instance) {
	if instance.Updated.After(s.LastUpdated) {
		s.LastUpdated = instance.Updated
	}
	// A confused catalogue gives one id to several instances of a host. All of them stay: readers go by the ID inside.
	// Counting from their number finds a free key soon, even if they are thousands.
	key := instance.ID
	for n := len(s.Services); s.Services[key] != nil; n++ {
		key = instance.ID + "#" + strconv.Itoa(n)
	}
	s.Services[key] = &instance
}
