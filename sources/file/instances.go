package file

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// decodeList reads a list of instances. Keys that nobody knows are faults of the file. An instance with a wrong value is there as
// invalid, so that it does not cost the others.
func decodeList(root *node) (sdk.Snapshot, error) {
	r := &reader{}
	var instances []sdk.Instance
	seen := map[[2]string]int{}
	for _, item := range root.items {
		instance := r.instance(item)
		key := [2]string{instance.Hostname, instance.ID}
		if first, twice := seen[key]; twice && instance.Invalid == "" {
			r.complainf(item, "this is the instance of line %d again: hostname %q and id %q are the same; give it another id",
				first, instance.Hostname, instance.ID)
		}
		seen[key] = item.line
		instances = append(instances, instance)
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b *fault) int { return cmp.Compare(a.line, b.line) })
		return sdk.Snapshot{}, r.faults
	}
	return sdk.Snapshot{Services: sdk.GroupByName(instances)}, nil
}

// A reader makes values of nodes and goes on after a fault, so that all of them are told together.
type reader struct {
	faults  faults // of the file
	invalid string // the first wrong value of the instance that is being read
}

func (r *reader) complainf(n *node, format string, args ...any) {
	r.faults = append(r.faults, faultAt(n, format, args...))
}

func (r *reader) invalidf(n *node, format string, args ...any) {
	if r.invalid == "" {
		r.invalid = fmt.Sprintf(format, args...) + fmt.Sprintf(" (line %d)", n.line)
	}
}

// A field reads the value of one key.
type field struct {
	key  string // as it is told to people
	read func(*node)
}

// mapping gives each member of n to its field. A value that is left empty counts as left out.
func (r *reader) mapping(n *node, what string, fields ...field) {
	if n.kind != mapping {
		r.invalidf(n, "%v where %s belongs", n.kind, what)
		return
	}
	seen := map[string]bool{}
	for _, m := range n.members {
		at := slices.IndexFunc(fields, func(f field) bool { return folded(f.key) == folded(m.key) })
		if at < 0 {
			r.faults = append(r.faults, &fault{m.line, unknownKey(m.key, what, fields)})
			continue
		}
		f := fields[at]
		if seen[f.key] {
			r.faults = append(r.faults, &fault{m.line, fmt.Sprintf("the key %q is there twice", f.key)})
		}
		seen[f.key] = true
		if m.value.kind != null {
			f.read(m.value)
		}
	}
}

func unknownKey(key, what string, fields []field) string {
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	return fmt.Sprintf("%q is not a key of %s; those are %s", key, what, strings.Join(known, ", "))
}

// folded makes proxy_mode, proxyMode and ProxyMode one.
func folded(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

func (r *reader) instance(n *node) sdk.Instance {
	i := sdk.Instance{ProxyMode: "http"}
	r.invalid = ""
	r.mapping(n, "an instance",
		r.text("id", &i.ID),
		r.text("name", &i.Name),
		r.text("image", &i.Image),
		r.time("created", &i.Created),
		r.text("hostname", &i.Hostname),
		r.ports("ports", &i.Ports),
		r.time("updated", &i.Updated),
		r.oneOf("proxy_mode", &i.ProxyMode, "http", "tcp", "ws"),
		r.status("status", &i.Status),
		r.labels("labels", &i.Labels),
	)
	if i.Name == "" {
		r.invalidf(n, "an instance has no name")
	}
	i = r.completed(n, i)
	i.Invalid = r.invalid
	return i
}

// completed fills in what may be left out because the other fields tell it.
func (r *reader) completed(n *node, i sdk.Instance) sdk.Instance {
	for _, p := range i.Ports {
		if i.Hostname == "" {
			i.Hostname = p.IP
		}
	}
	if i.Hostname == "" {
		r.invalidf(n, "an instance has neither a hostname nor a port with an ip, so nobody could reach it")
	}
	if i.ID == "" {
		// Of what tells instances apart, and of nothing that a new version changes.
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %+v", i.Name, i.Hostname, i.Ports))
		i.ID = hex.EncodeToString(sum[:6])
	}
	return i
}

func (r *reader) port(n *node) sdk.Port {
	p := sdk.Port{Type: "tcp"}
	r.mapping(n, "a port",
		r.oneOf("type", &p.Type, "tcp", "udp"),
		r.number("port", &p.Port),
		r.number("service_port", &p.ServicePort),
		r.text("ip", &p.IP),
	)
	if p.Port < 1 || p.Port > 65535 {
		r.invalidf(n, "port: %d is not a port; those are 1 to 65535", p.Port)
	}
	if p.ServicePort < 0 || p.ServicePort > 65535 {
		r.invalidf(n, "service_port: %d is not a port; those are 1 to 65535, and 0 means that it is not offered",
			p.ServicePort)
	}
	return p
}
