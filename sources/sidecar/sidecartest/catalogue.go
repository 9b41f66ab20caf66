package sidecartest

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A catalogue is the state of a Sidecar and encodes it in each of Sidecar's forms.
type catalogue struct {
	cluster, hostname string
	older             bool
	instances         []sdk.Instance
	changed           time.Time
}

func (c *catalogue) find(hostname, id string) int {
	return slices.IndexFunc(c.instances, func(i sdk.Instance) bool { return i.Hostname == hostname && i.ID == id })
}

func (c *catalogue) get(hostname, id string) (sdk.Instance, bool) {
	if at := c.find(hostname, id); at >= 0 {
		return c.instances[at], true
	}
	return sdk.Instance{}, false
}

func (c *catalogue) put(instance sdk.Instance) {
	if c.older {
		for n := range instance.Ports {
			instance.Ports[n].IP = ""
		}
	}
	if at := c.find(instance.Hostname, instance.ID); at >= 0 {
		c.instances[at] = instance
		return
	}
	c.instances = append(c.instances, instance)
}

func (c *catalogue) keepOnly(hostname string) {
	c.instances = slices.DeleteFunc(c.instances, func(i sdk.Instance) bool { return i.Hostname != hostname })
}

func (c *catalogue) touch(now time.Time) {
	for n := range c.instances {
		c.instances[n].Updated = now
	}
}

func (c *catalogue) snapshot() sdk.Snapshot {
	return sdk.Snapshot{Cluster: c.cluster, Changed: c.changed, Services: sdk.GroupByName(c.instances)}
}

func (c *catalogue) state() object {
	servers := map[string]object{}
	for hostname, instances := range group(c.instances, func(i sdk.Instance) string { return i.Hostname }) {
		services := object{}
		for _, i := range instances {
			services[i.ID] = c.service(i)
		}
		updated := latest(instances)
		servers[hostname] = object{
			"Name": hostname, "Services": services, "LastUpdated": updated, "LastChanged": updated,
		}
	}
	return object{"Servers": objectOf(servers), "LastChanged": c.changed, "ClusterName": c.cluster, "Hostname": c.hostname}
}

func (c *catalogue) byService() object {
	services := map[string][]object{}
	for _, i := range c.instances {
		services[i.Name] = append(services[i.Name], c.service(i))
	}
	return objectOf(services)
}

func (c *catalogue) services() object {
	members := map[string]object{}
	for hostname, instances := range group(c.instances, func(i sdk.Instance) string { return i.Hostname }) {
		members[hostname] = object{"Name": hostname, "LastUpdated": latest(instances), "ServiceCount": len(instances)}
	}
	return object{"Services": c.byService(), "ClusterMembers": objectOf(members), "ClusterName": c.cluster}
}

func (c *catalogue) event(e event) object {
	return object{
		"State":       c.state(),
		"ChangeEvent": object{"Service": c.service(e.instance), "PreviousStatus": int(e.previous), "Time": e.time},
	}
}

func (c *catalogue) service(i sdk.Instance) object {
	ports := []object{}
	for _, p := range i.Ports {
		port := object{"Type": p.Type, "Port": p.Port, "ServicePort": p.ServicePort}
		if !c.older {
			port["IP"] = p.IP
		}
		ports = append(ports, port)
	}
	return object{
		"ID": i.ID, "Name": i.Name, "Image": i.Image, "Created": i.Created, "Hostname": i.Hostname, "Ports": ports,
		"Updated": i.Updated, "ProxyMode": i.ProxyMode, "Status": int(i.Status),
	}
}

func group(instances []sdk.Instance, by func(sdk.Instance) string) map[string][]sdk.Instance {
	groups := map[string][]sdk.Instance{}
	for _, i := range instances {
		groups[by(i)] = append(groups[by(i)], i)
	}
	return groups
}

func latest(instances []sdk.Instance) time.Time {
	return slices.MaxFunc(instances, func(a, b sdk.Instance) int { return a.Updated.Compare(b.Updated) }).Updated
}

// An object is a JSON object that encodes its members in a random order.
type object map[string]any

func objectOf[T any](members map[string]T) object {
	o := object{}
	for key, value := range members {
		o[key] = value
	}
	return o
}

// MarshalJSON encodes o in a random order.
func (o object) MarshalJSON() ([]byte, error) {
	type member struct {
		key   string
		order uint64
	}
	var members []member
	for key := range o {
		members = append(members, member{key, rand.Uint64()}) //nolint:gosec // any order is valid
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.order, b.order) })
	out := []byte{'{'}
	for n, m := range members {
		if n > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(o[m.key])
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}
