package sdk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Snapshot is everything a [Source] knew at one moment. It is never modified once emitted, so it is shared without
// locks; whoever wants another one makes a copy.
type Snapshot struct {
	Source   string    // the name of the source in the configuration
	Cluster  string    // the catalogue's name for itself, if it has one
	Taken    time.Time // when the source learned of it, by our clock
	Changed  time.Time // when the catalogue says it changed last, by some other host's clock: never compare it to ours
	Services []Service // sorted by name
	Last     *Change   // the change that led to this snapshot, where the catalogue tells
}

// A Service is all the instances of one name.
type Service struct {
	Name      string
	Instances []Instance // sorted by Hostname, then ID
}

// An Instance is one running copy of a service. Its fields, and their names in JSON, are those of Sidecar's Service, so
// that a template written for Sidecar renders the instances of every source.
type Instance struct {
	ID        string
	Name      string
	Image     string
	Created   time.Time
	Hostname  string
	Ports     []Port
	Updated   time.Time // moves about once a minute for a living instance: it says nothing about the configuration
	ProxyMode string    // "http", "tcp" or "ws"
	Status    Status
	Labels    map[string]string `json:",omitempty"` // empty for Sidecar, whose services have none

	// Invalid says why the source could not read the instance, naming the field. Such an instance is quarantined.
	Invalid string `json:"-"`
}

// A Port is one address at which an instance listens.
type Port struct {
	Type        string // "tcp" or "udp"
	Port        int64  // where the instance listens
	ServicePort int64  // the port under which the proxy offers the service; 0 when it is not offered
	IP          string // may be empty: then the instance's Hostname is its address
}

// A Change is what happened to one instance.
type Change struct {
	Instance       Instance
	PreviousStatus Status
	Time           time.Time
}

// A Status is an instance's state of health, with Sidecar's numbers.
type Status int

const (
	Alive     Status = 0
	Tombstone Status = 1 // gone, and remembered for a while
	Unhealthy Status = 2
	Unknown   Status = 3
	Draining  Status = 4 // finishes what it has and wants nothing new
)

// Name returns the name that Sidecar shows for s. Sidecar takes a number that it does not know for a tombstone. It is not
// called String, since templates print a Status, and the older ones expect the number.
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

// IsAlive reports whether the instance takes requests.
func (i Instance) IsAlive() bool { return i.Status == Alive }

// IsTombstone reports whether the instance is gone.
func (i Instance) IsTombstone() bool { return i.Status == Tombstone }

// IsDraining reports whether the instance only finishes what it has.
func (i Instance) IsDraining() bool { return i.Status == Draining }

// StatusString returns the name of the instance's status.
func (i Instance) StatusString() string { return i.Status.Name() }

// Version returns what follows the first colon of Image, or the whole of Image where there is no colon. That is
// Sidecar's rule; an image from a registry with a port has a surprising version there as well.
func (i Instance) Version() string {
	parts := strings.Split(i.Image, ":")
	if len(parts) > 1 {
		return parts[1]
	}
	return parts[0]
}

// GroupByName sorts instances into services by name, in the order that a [Snapshot] promises. It does not keep or
// change the slice that it is given.
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

// compareRest orders two instances that claim the same name, host and id, which only a confused catalogue sends: the order must
// still not depend on the order of arrival.
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
