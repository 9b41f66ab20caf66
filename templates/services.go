package templates

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// services are those of a snapshot as templates see them: which instances are usable, which service owns a port, and the names in
// HAProxy's configuration. The rules are those of haproxy-api 0.9, see docs/templates.md. They are computed once per document.
type services struct {
	snap       sdk.Snapshot
	names      []string                  // of the services, sorted
	all        map[string][]sdk.Instance // instances in any state
	usable     map[string][]sdk.Instance // .Services
	sanitized  map[string]string         // the results of sanitizeName for the services
	claims     map[string]portClaim      // of the services with usable instances
	portOwners map[int64]string          // the service that each service port belongs to
	ownedPorts map[string]string         // by service: its own ports, as text
	ignored    map[string][]string       // by service: notes about instances that are not usable
	conflicts  []string                  // notes about ports that several services claim
	notes      []string

	servers map[string]map[server]string // by service: the results of serverName, computed when they are needed
}

// newServices returns the services of snap. It reuses what before, which may be nil, has for services that did not change.
func newServices(snap sdk.Snapshot, before *services) *services {
	n := len(snap.Services)
	s := &services{
		snap: snap, all: make(map[string][]sdk.Instance, n), usable: make(map[string][]sdk.Instance, n),
		claims: make(map[string]portClaim, n), ignored: map[string][]string{}, servers: make(map[string]map[server]string, n),
	}
	for _, svc := range ordered(snap.Services) {
		s.names = append(s.names, svc.Name)
		s.all[svc.Name] = svc.Instances
		if before == nil || !s.reuse(svc.Name, before) {
			s.selectUsable(svc)
		}
		s.notes = append(s.notes, s.ignored[svc.Name]...)
	}
	if before != nil && slices.Equal(s.names, before.names) {
		s.sanitized = before.sanitized
	} else {
		s.sanitized = distinct(s.names, cleanName)
	}
	if before != nil && maps.EqualFunc(s.claims, before.claims, portClaim.equal) {
		s.portOwners, s.ownedPorts, s.conflicts = before.portOwners, before.ownedPorts, before.conflicts
	} else {
		s.assignPorts()
	}
	s.notes = append(s.notes, s.conflicts...)
	return s
}

// reuse copies what before has for a service, if its instances are the same ones in memory.
func (s *services) reuse(service string, before *services) bool {
	if !snapshots.ShareInstances(sdk.Service{Instances: s.all[service]}, sdk.Service{Instances: before.all[service]}) {
		return false
	}
	if usable := before.usable[service]; len(usable) > 0 {
		s.usable[service], s.claims[service] = usable, before.claims[service]
	}
	if notes := before.ignored[service]; len(notes) > 0 {
		s.ignored[service] = notes
	}
	if names := before.servers[service]; len(names) > 0 {
		s.servers[service] = names
	}
	return true
}

// ordered returns services in the order that a snapshot promises, on which the rest depends. Plugins of third parties may not
// keep that promise.
func ordered(services []sdk.Service) []sdk.Service {
	before := func(a, b sdk.Instance) bool {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID)) < 0
	}
	inOrder := true
	for i, svc := range services {
		inOrder = inOrder && (i == 0 || services[i-1].Name < svc.Name)
		for j := range svc.Instances {
			inOrder = inOrder && svc.Instances[j].Name == svc.Name
			inOrder = inOrder && (j == 0 || before(svc.Instances[j-1], svc.Instances[j]))
		}
	}
	if inOrder {
		return services
	}
	var all []sdk.Instance
	for _, svc := range services {
		all = append(all, svc.Instances...)
	}
	return sdk.GroupByName(all)
}

// selectUsable sets the usable instances of svc: those that are alive, have ports, and offer the same service ports as most of
// them do. It notes which ones it ignores.
func (s *services) selectUsable(svc sdk.Service) {
	// A copy, since templates can call methods that modify the times of instances. It is kept, so it has no room for more.
	alive := make([]sdk.Instance, 0, len(svc.Instances))
	offers := make([]string, 0, len(svc.Instances))
	for _, inst := range svc.Instances {
		if inst.IsAlive() && len(inst.Ports) > 0 {
			alive = append(alive, inst)
			offers = append(offers, offeredPorts(inst))
		}
	}
	usual := majority(offers)
	chosen := alive[:0]
	notef := func(format string, args ...any) {
		s.ignored[svc.Name] = append(s.ignored[svc.Name], fmt.Sprintf(format, args...))
	}
	if len(alive) == 0 && slices.ContainsFunc(svc.Instances, sdk.Instance.IsAlive) {
		notef("service %q is ignored: none of its living instances has a port", svc.Name)
	}
	for i, inst := range alive {
		switch last := len(chosen) - 1; {
		case offers[i] != usual:
			notef("%s is ignored: it offers %s, and most instances of the service offer %s", describe(inst), offers[i], usual)
		case last >= 0 && chosen[last].Hostname == inst.Hostname && chosen[last].ID == inst.ID:
			notef("%s is listed twice; the second one is ignored", describe(inst))
		default:
			chosen = append(chosen, inst)
		}
	}
	if len(chosen) > 0 {
		s.usable[svc.Name] = chosen
		s.claims[svc.Name] = claimOf(chosen)
	}
}

// A portClaim is what decides which of several services a service port belongs to.
type portClaim struct {
	ports  []int64 // the exported service ports, each once, sorted
	oldest time.Time
}

func (c portClaim) equal(other portClaim) bool {
	return c.oldest.Equal(other.oldest) && slices.Equal(c.ports, other.ports)
}

// claimOf returns the claim of a service with these usable instances, which all offer the same ports. An instance without a time
// of creation counts as new.
func claimOf(usable []sdk.Instance) portClaim {
	c := portClaim{oldest: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, p := range usable[0].Ports {
		if isExported(p) {
			c.ports = append(c.ports, p.ServicePort)
		}
	}
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports)
	for _, inst := range usable {
		if !inst.Created.IsZero() && inst.Created.Before(c.oldest) {
			c.oldest = inst.Created
		}
	}
	return c
}

// offeredPorts describes the service ports of inst. Equal sets of them have equal descriptions.
func offeredPorts(inst sdk.Instance) string {
	var ports []sdk.Port
	for _, p := range inst.Ports {
		if p.ServicePort > 0 {
			ports = append(ports, sdk.Port{Type: p.Type, ServicePort: p.ServicePort})
		}
	}
	slices.SortFunc(ports, func(a, b sdk.Port) int {
		return cmp.Or(cmp.Compare(a.ServicePort, b.ServicePort), cmp.Compare(a.Type, b.Type))
	})
	var words []string
	for _, p := range slices.Compact(ports) {
		words = append(words, fmt.Sprintf("%d/%s", p.ServicePort, p.Type))
	}
	if len(words) == 0 {
		return "no service port"
	}
	return strings.Join(words, " ")
}

// assignPorts assigns every exported service port to the service with the oldest instance, and notes which others claim it.
func (s *services) assignPorts() {
	n := len(s.claims) // most services have one port
	s.portOwners, s.ownedPorts, s.conflicts = make(map[int64]string, n), make(map[string]string, n), nil
	claimants := make(map[int64][]string, n)
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		for _, port := range s.claims[name].ports {
			claimants[port] = append(claimants[port], name)
		}
	}
	oldest := func(name string) time.Time { return s.claims[name].oldest }
	for _, port := range slices.Sorted(maps.Keys(claimants)) {
		names := claimants[port]
		// The sort is stable, so among services of the same age the first by name comes first.
		slices.SortStableFunc(names, func(a, b string) int { return oldest(a).Compare(oldest(b)) })
		s.portOwners[port] = names[0]
		s.ownedPorts[names[0]] += strconv.FormatInt(port, 10) + " "
		for _, loser := range names[1:] {
			reason := "its oldest instance is the older one"
			if oldest(loser).Equal(oldest(names[0])) {
				reason = "their oldest instances are equally old, so the first name decides"
			}
			s.conflicts = append(s.conflicts, fmt.Sprintf(
				"service %q claims service port %d, which belongs to service %q: %s", loser, port, names[0], reason))
		}
	}
}

// exported returns what the service offers over TCP: from ServicePort to the Port of its first usable instance. The others
// offer the same.
func (s *services) exported(name string) map[int64]int64 {
	ports := map[int64]int64{}
	if len(s.usable[name]) == 0 {
		return ports
	}
	for _, p := range s.usable[name][0].Ports {
		if _, seen := ports[p.ServicePort]; !seen && isExported(p) {
			ports[p.ServicePort] = p.Port
		}
	}
	return ports
}

func isExported(p sdk.Port) bool { return p.Type == "tcp" && p.ServicePort > 0 }

// mode returns the mode of most usable instances of the service. A service without usable instances has the mode of most of its
// instances, as it had for the older templates; an unknown service has "".
func (s *services) mode(name string) string {
	instances := s.usable[name]
	if len(instances) == 0 {
		instances = s.all[name]
	}
	var modes []string
	for _, inst := range instances {
		mode := inst.ProxyMode
		if mode == "ws" || mode == "" { // Sidecar's default
			mode = "http"
		}
		modes = append(modes, mode)
	}
	return majority(modes)
}

// majority returns the most frequent word, the first in alphabetical order of several, and "" for none.
func majority(words []string) string {
	counts := map[string]int{}
	for _, w := range words {
		counts[w]++
	}
	var best string
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		if counts[w] > counts[best] {
			best = w
		}
	}
	return best
}

// describe returns a human-readable name of an instance.
func describe(inst sdk.Instance) string {
	return "instance " + inst.ID + " of service " + strconv.Quote(inst.Name) + " on " + inst.Hostname
}
