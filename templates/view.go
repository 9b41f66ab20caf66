package templates

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A view is a snapshot as templates see it, with the older rules applied. It is built once for each document.
type view struct {
	snap   sdk.Snapshot
	names  []string                  // of the services, in order
	all    map[string][]sdk.Instance // instances in any state
	live   map[string][]sdk.Instance // .Services
	clean  map[string]string         // what sanitizeName makes of each service's name
	claims map[string]claim          // of the services that are live
	owners map[int64]string          // ServicePort to the one service that may have it
	owns   map[string]string         // by service: the ports that are its own
	left   map[string][]string       // by service: what is to be said of instances that are left out
	notes  []string

	disputes []string                     // what is to be said of ports that several services claim
	servers  map[string]map[server]string // by service: the names that serverName gives, made when asked for
}

// newView makes the view of snap. What it has to say of services that are those of the view before, which may be nil, it takes
// from there.
func newView(snap sdk.Snapshot, before *view) *view {
	n := len(snap.Services)
	v := &view{
		snap: snap, all: make(map[string][]sdk.Instance, n), live: make(map[string][]sdk.Instance, n),
		claims: make(map[string]claim, n), left: map[string][]string{}, servers: make(map[string]map[server]string, n),
	}
	for _, svc := range ordered(snap.Services) {
		v.names = append(v.names, svc.Name)
		v.all[svc.Name] = svc.Instances
		if before == nil || !v.adopt(svc.Name, before) {
			v.choose(svc)
		}
		v.notes = append(v.notes, v.left[svc.Name]...)
	}
	if before != nil && slices.Equal(v.names, before.names) {
		v.clean = before.clean
	} else {
		v.clean = distinct(v.names, cleanName)
	}
	if before != nil && maps.EqualFunc(v.claims, before.claims, claim.equal) {
		v.owners, v.owns, v.disputes = before.owners, before.owns, before.disputes
	} else {
		v.settlePorts()
	}
	v.notes = append(v.notes, v.disputes...)
	return v
}

// adopt takes over what is told of a service, if that is the very same as before.
func (v *view) adopt(service string, before *view) bool {
	if !(sdk.Service{Instances: v.all[service]}).Shares(sdk.Service{Instances: before.all[service]}) {
		return false
	}
	if live := before.live[service]; len(live) > 0 {
		v.live[service], v.claims[service] = live, before.claims[service]
	}
	if notes := before.left[service]; len(notes) > 0 {
		v.left[service] = notes
	}
	if names := before.servers[service]; len(names) > 0 {
		v.servers[service] = names
	}
	return true
}

// ordered returns services in the order that a snapshot promises. Sources of other people may not keep the promise, and
// everything below depends on it.
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

// choose finds the instances of svc that the proxy shall use: those that are alive, have ports, and offer the same
// service ports as most of them do. It notes what it leaves out.
func (v *view) choose(svc sdk.Service) {
	var alive []sdk.Instance
	var offers []string
	for _, inst := range svc.Instances {
		if inst.IsAlive() && len(inst.Ports) > 0 {
			alive = append(alive, inst)
			offers = append(offers, offered(inst))
		}
	}
	usual := majority(offers)
	var chosen []sdk.Instance
	leave := func(format string, args ...any) {
		v.left[svc.Name] = append(v.left[svc.Name], fmt.Sprintf(format, args...))
	}
	if len(alive) == 0 && slices.ContainsFunc(svc.Instances, sdk.Instance.IsAlive) {
		leave("service %q is left out: none of its live instances has a port", svc.Name)
	}
	for i, inst := range alive {
		switch last := len(chosen) - 1; {
		case offers[i] != usual:
			leave("%s is left out: it offers %s, while most of the service offer %s", describe(inst), offers[i], usual)
		case last >= 0 && chosen[last].Hostname == inst.Hostname && chosen[last].ID == inst.ID:
			leave("%s is listed twice; the second one is left out", describe(inst))
		default:
			chosen = append(chosen, inst)
		}
	}
	if len(chosen) > 0 {
		v.live[svc.Name] = chosen
		v.claims[svc.Name] = claimOf(chosen)
	}
}

// A claim is what a service says of the ports that it wants.
type claim struct {
	ports  []int64 // each once, in order
	oldest time.Time
}

func (c claim) equal(other claim) bool {
	return c.oldest.Equal(other.oldest) && slices.Equal(c.ports, other.ports)
}

// claimOf returns the claim of a service with these instances, which all offer the same. An instance that does not say when it
// was created counts as new.
func claimOf(live []sdk.Instance) claim {
	c := claim{oldest: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, p := range live[0].Ports {
		if isExported(p) {
			c.ports = append(c.ports, p.ServicePort)
		}
	}
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports)
	for _, inst := range live {
		if !inst.Created.IsZero() && inst.Created.Before(c.oldest) {
			c.oldest = inst.Created
		}
	}
	return c
}

// offered describes the service ports of inst in words that are equal for equal sets of them.
func offered(inst sdk.Instance) string {
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

// settlePorts gives every exported port to one service, and notes who else wanted it.
func (v *view) settlePorts() {
	v.owners, v.owns, v.disputes = map[int64]string{}, map[string]string{}, nil
	claimants := map[int64][]string{}
	for _, name := range slices.Sorted(maps.Keys(v.claims)) {
		for _, port := range v.claims[name].ports {
			claimants[port] = append(claimants[port], name)
		}
	}
	oldest := func(name string) time.Time { return v.claims[name].oldest }
	for _, port := range slices.Sorted(maps.Keys(claimants)) {
		names := claimants[port]
		// Stable, so that the name decides among equals.
		slices.SortStableFunc(names, func(a, b string) int { return oldest(a).Compare(oldest(b)) })
		v.owners[port] = names[0]
		v.owns[names[0]] += strconv.FormatInt(port, 10) + " "
		for _, loser := range names[1:] {
			reason := "its oldest instance is the older one"
			if oldest(loser).Equal(oldest(names[0])) {
				reason = "they are of one age, so the name decides"
			}
			v.disputes = append(v.disputes, fmt.Sprintf(
				"service %q claims service port %d, which belongs to service %q: %s", loser, port, names[0], reason))
		}
	}
}

// exported returns what the service offers over TCP: from ServicePort to the Port of its first instance. The others in
// use offer the same.
func (v *view) exported(name string) map[int64]int64 {
	ports := map[int64]int64{}
	if len(v.live[name]) == 0 {
		return ports
	}
	for _, p := range v.live[name][0].Ports {
		if _, seen := ports[p.ServicePort]; !seen && isExported(p) {
			ports[p.ServicePort] = p.Port
		}
	}
	return ports
}

func isExported(p sdk.Port) bool { return p.Type == "tcp" && p.ServicePort > 0 }

// mode returns the mode of the service, by majority of the instances in use. A service with none of those still has the
// mode of the ones it knows, as it had for the older templates; a service that nobody knows has "".
func (v *view) mode(name string) string {
	instances := v.live[name]
	if len(instances) == 0 {
		instances = v.all[name]
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

// majority returns the most frequent word, among equals the first by name, and "" for none.
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

// describe names an instance for people.
func describe(inst sdk.Instance) string {
	return "instance " + inst.ID + " of service " + strconv.Quote(inst.Name) + " on " + inst.Hostname
}
