package file

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// decodeList reads a list of instances. Unknown keys are faults of the file. An instance with a wrong value has
// [sdk.Instance.Invalid] set, so that the others remain usable.
func decodeList(root *yaml.Node) (sdk.Snapshot, error) {
	r := &reader{}
	var instances []sdk.Instance
	seen := map[[2]string]int{}
	for _, item := range root.Content {
		instance := r.instance(item)
		key := [2]string{instance.Hostname, instance.ID}
		if first, twice := seen[key]; twice && instance.Invalid == "" {
			r.faultf(item, "duplicate instance: line %d has the same hostname %q and id %q; give one of them another id",
				first, instance.Hostname, instance.ID)
		}
		seen[key] = item.Line
		instances = append(instances, instance)
	}
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b *fault) int { return cmp.Compare(a.line, b.line) })
		return sdk.Snapshot{}, r.faults
	}
	return sdk.Snapshot{Services: sdk.GroupByName(instances)}, nil
}

// A reader converts nodes to instances. It goes on after a fault, so that all faults are reported together.
type reader struct {
	faults  faults // of the file
	invalid string // the first wrong value of the instance that is being read
}

func (r *reader) faultf(n *yaml.Node, format string, args ...any) {
	r.faults = append(r.faults, faultAt(n, format, args...))
}

func (r *reader) invalidf(n *yaml.Node, format string, args ...any) {
	if r.invalid == "" {
		r.invalid = fmt.Sprintf(format, args...) + fmt.Sprintf(" (line %d)", n.Line)
	}
}

// A field reads the value of one key.
type field struct {
	key  string // as messages name it
	read func(*yaml.Node)
}

// mapping passes the value of each member of n to its field. An empty value counts as absent.
func (r *reader) mapping(n *yaml.Node, what string, fields ...field) {
	if kindOf(n) != mapping {
		r.invalidf(n, "%s must be a mapping and is %s", what, kindOf(n))
		return
	}
	seen := map[string]bool{}
	for key, value := range members(n) {
		at := slices.IndexFunc(fields, func(f field) bool { return folded(f.key) == folded(key.Value) })
		if at < 0 {
			var known []string
			for _, f := range fields {
				known = append(known, f.key)
			}
			r.faultf(key, "unknown key %q; %s has the keys %s", key.Value, what, strings.Join(known, ", "))
			continue
		}
		f := fields[at]
		if seen[f.key] {
			r.faultf(key, "duplicate key %q", f.key)
		}
		seen[f.key] = true
		if kindOf(value) != null {
			f.read(value)
		}
	}
}

// folded returns the same for proxy_mode, proxyMode and ProxyMode.
func folded(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

func (r *reader) instance(n *yaml.Node) sdk.Instance {
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
	for _, p := range i.Ports {
		if i.Hostname == "" {
			i.Hostname = p.IP
		}
	}
	if i.Hostname == "" {
		r.invalidf(n, "an instance has neither a hostname nor a port with an ip")
	}
	if i.ID == "" {
		// A hash of what identifies the instance, without fields that a new version of the service changes.
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %+v", i.Name, i.Hostname, i.Ports))
		i.ID = hex.EncodeToString(sum[:6])
	}
	i.Invalid = r.invalid
	return i
}

func (r *reader) port(n *yaml.Node) sdk.Port {
	p := sdk.Port{Type: "tcp"}
	r.mapping(n, "a port",
		r.oneOf("type", &p.Type, "tcp", "udp"),
		r.number("port", &p.Port),
		r.number("service_port", &p.ServicePort),
		r.text("ip", &p.IP),
	)
	if p.Port < 1 || p.Port > 65535 {
		r.invalidf(n, "port must be from 1 to 65535 and is %d", p.Port)
	}
	if p.ServicePort < 0 || p.ServicePort > 65535 {
		r.invalidf(n, "service_port must be from 1 to 65535, or 0 for a port that is not offered, and is %d", p.ServicePort)
	}
	return p
}
