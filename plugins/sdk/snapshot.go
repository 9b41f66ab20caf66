package sdk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Snapshot is everything that a [Source] knows at one moment. It is never modified after it was emitted, so it is shared
// without locks.
type Snapshot struct {
	Source   string    // the name of the source in the configuration
	Cause    string    // one of the Cause constants, or empty: what made the source emit it
	Sender   string    // the address of the client that pushed it, without a port; empty for other causes
	Cluster  string    // the name of the registry's cluster, if it has one
	Taken    time.Time // when the source received it, by the clock of this host
	Changed  time.Time // when the registry changed last, by the clock of another host: do not compare it with Taken
	Services []Service // sorted by name
	Last     *Change   // the change that led to this snapshot, if the registry reports it
}

// The causes of snapshots, in [Snapshot].Cause.
const (
	CausePush   = "push"   // the registry sent it
	CauseWatch  = "watch"  // the source follows a stream of the registry, or waits for its changes
	CauseResync = "resync" // the source fetched the whole state, at the start or to notice a lost change
)

// A Service has all instances with one name.
type Service struct {
	Name      string
	Instances []Instance // sorted by Hostname, then ID
}

// An Instance is one running copy of a service. Its fields, and their names in JSON, are those of Sidecar's Service, so that
// a template for Sidecar can render the instances of every source.
type Instance struct {
	ID        string
	Name      string
	Image     string
	Created   time.Time
	Hostname  string
	Ports     []Port
	Updated   time.Time // changes about once a minute while the instance is alive; ignored in comparisons
	ProxyMode string    // "http", "tcp" or "ws"
	Status    Status
	Labels    map[string]string `json:",omitempty"` // empty for Sidecar, whose services have none

	// Invalid says why the source could not read the instance, and names the field. The daemon quarantines such an instance.
	Invalid string `json:"-"`
}

// A Port is one address at which an instance listens.
type Port struct {
	Type        string // "tcp" or "udp"
	Port        int64  // where the instance listens
	ServicePort int64  // the port at which the proxy offers the service; 0 if it does not
	IP          string // the address; the instance's Hostname is, if this is empty
}

// A Change is what happened to one instance.
type Change struct {
	Instance       Instance
	PreviousStatus Status
	Time           time.Time
}

// A Status is the health of an instance. It has Sidecar's numbers.
type Status int

const (
	Alive     Status = 0
	Tombstone Status = 1 // gone; Sidecar keeps it for some time
	Unhealthy Status = 2
	Unknown   Status = 3
	Draining  Status = 4 // serves its present connections and accepts no new ones
)

// Name returns Sidecar's name of s, which is that of Tombstone for unknown numbers. The method is not called String, because
// templates of version 0.9 print a Status and expect the number.
func (s Status) Name() string {
	switch s {
	case Alive:
		return "Alive"
	case Unhealthy:
		return "Unhealthy"
	case Unknown:
		return "Unknown"
	case Draining:
		return "Draining"
	default:
		return "Tombstone"
	}
}

// IsAlive reports whether the instance accepts requests.
func (i Instance) IsAlive() bool { return i.Status == Alive }

// IsTombstone reports whether the instance is gone.
func (i Instance) IsTombstone() bool { return i.Status == Tombstone }

// IsDraining reports whether the instance serves only its present connections.
func (i Instance) IsDraining() bool { return i.Status == Draining }

// StatusString returns the name of the instance's status.
func (i Instance) StatusString() string { return i.Status.Name() }

// Version returns the part of Image between its first and its second colon, and Image itself if it has no colon. This is
// Sidecar's rule: the version of an image from a registry with a port starts with that port.
func (i Instance) Version() string {
	parts := strings.Split(i.Image, ":")
	if len(parts) > 1 {
		return parts[1]
	}
	return parts[0]
}

// GroupByName returns the services of instances, in the order that a [Snapshot] requires. It does not modify or keep the slice.
func GroupByName(instances []Instance) []Service {
	sorted := slices.Clone(instances)
	slices.SortStableFunc(sorted, func(a, b Instance) int {
		if order := cmp.Or(
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID),
		); order != 0 {
			return order
		}
		return compareRest(a, b)
	})
	var services []Service
	for start := 0; start < len(sorted); {
		end := start + 1
		for end < len(sorted) && sorted[end].Name == sorted[start].Name {
			end++
		}
		services = append(services, Service{Name: sorted[start].Name, Instances: sorted[start:end:end]})
		start = end
	}
	return services
}

// compareRest orders two instances with the same name, host and id, which only a faulty registry sends: even their order must
// not depend on the order in which they arrive.
func compareRest(a, b Instance) int {
	return cmp.Or(
		cmp.Compare(a.Invalid, b.Invalid), cmp.Compare(a.Image, b.Image), cmp.Compare(a.ProxyMode, b.ProxyMode),
		cmp.Compare(a.Status, b.Status), a.Created.Compare(b.Created), a.Updated.Compare(b.Updated),
		slices.CompareFunc(a.Ports, b.Ports, comparePorts), compareLabels(a.Labels, b.Labels),
	)
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.Type, b.Type), cmp.Compare(a.Port, b.Port), cmp.Compare(a.ServicePort, b.ServicePort),
		cmp.Compare(a.IP, b.IP),
	)
}

func compareLabels(a, b map[string]string) int {
	if len(a) == 0 && len(b) == 0 {
		return 0
	}
	return cmp.Compare(fmt.Sprintf("%q", a), fmt.Sprintf("%q", b)) // in the order of their keys
}
