// Package snapshots compares the snapshots of sources. It knows only the contract of package sdk. Only the daemon and its
// built-in components use it; plugins do not need it.
package snapshots

import (
	"maps"
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Equal reports whether a and b contain the same instances in the same state. It ignores Updated times, since Sidecar changes
// them about once a minute without any event, and where and when the snapshots were taken.
func Equal(a, b sdk.Snapshot) bool {
	return a.Cluster == b.Cluster && slices.EqualFunc(a.Services, b.Services, func(a, b sdk.Service) bool {
		return a.Name == b.Name && (ShareInstances(a, b) || slices.EqualFunc(a.Instances, b.Instances, EqualInstances))
	})
}

// EqualInstances reports whether a and b describe the same instance in the same state. It ignores Updated times.
func EqualInstances(a, b sdk.Instance) bool {
	return a.Invalid == b.Invalid && a.ID == b.ID && a.Name == b.Name && a.Image == b.Image && a.Hostname == b.Hostname &&
		a.ProxyMode == b.ProxyMode && a.Status == b.Status && a.Created.Equal(b.Created) &&
		slices.Equal(a.Ports, b.Ports) && maps.Equal(a.Labels, b.Labels)
}

// ShareInstances reports whether the instances of a and b are the same slice in memory. It takes constant time, so a source
// that reuses the slices of services without a change spares its consumers a comparison.
func ShareInstances(a, b sdk.Service) bool {
	return len(a.Instances) == len(b.Instances) && len(a.Instances) > 0 && &a.Instances[0] == &b.Instances[0]
}
