package catalog

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// EncodeState writes s as a Sidecar encodes its state. Equal snapshots have equal encodings, and [Decode] returns the same
// instances, cluster and time of change. A snapshot lacks two fields: a server's LastChanged becomes that of the whole state,
// and the Hostname of the answering Sidecar is empty.
//
// The error is that of w, or about a time whose year has more than four digits.
func EncodeState(w io.Writer, s sdk.Snapshot) error {
	content, err := json.Marshal(toState(s))
	if err != nil {
		return fmt.Errorf("the state contains a time that JSON cannot represent: %w", err)
	}
	_, err = w.Write(content)
	return err
}

// The types below have the field names and the field order of a Sidecar's JSON. sdk.Instance has those names too.

type encodedState struct {
	Servers     map[string]*encodedServer
	LastChanged time.Time
	ClusterName string
	Hostname    string
}

type encodedServer struct {
	Name        string
	Services    map[string]*sdk.Instance
	LastUpdated time.Time
	LastChanged time.Time
}

func toState(s sdk.Snapshot) encodedState {
	servers := map[string]*encodedServer{}
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
	return encodedState{Servers: servers, LastChanged: s.Changed, ClusterName: s.Cluster}
}

func newServer(name string, changed time.Time) *encodedServer {
	return &encodedServer{Name: name, Services: map[string]*sdk.Instance{}, LastChanged: changed}
}

func (s *encodedServer) add(instance sdk.Instance) {
	if instance.Updated.After(s.LastUpdated) {
		s.LastUpdated = instance.Updated
	}
	// In an inconsistent catalogue, several instances of a host have one id. All of them are kept, since readers use the ID
	// inside. Counting from the number of instances finds a free key soon, even among thousands.
	key := instance.ID
	for n := len(s.Services); s.Services[key] != nil; n++ {
		key = instance.ID + "#" + strconv.Itoa(n)
	}
	s.Services[key] = &instance
}
