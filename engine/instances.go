package engine

import (
	"time"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// ServiceInstances are the instances of one service in the snapshot that is in use.
type ServiceInstances struct {
	sdk.Service
	// Since has, for each instance, when its status changed last as this daemon saw it. For an instance that was there when the
	// daemon began to watch the source, it is when that was, or when the instance was created if it is alive.
	Since []time.Time
}

// Instances returns the services of the snapshot that the named pipeline uses, sorted by name. The caller must not modify them.
// The error is [ErrNoPipeline].
func (e *Engine) Instances(pipeline string) ([]ServiceInstances, error) {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return nil, err
	}
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	return p.source.instances, nil
}

// withSince returns the services of snap. before is what it returned for the previous snapshot; nil for none. Services that share
// their instances with the previous snapshot take constant time.
func withSince(before []ServiceInstances, snap sdk.Snapshot) []ServiceInstances {
	next := make([]ServiceInstances, len(snap.Services))
	for i, service := range snap.Services {
		for len(before) > 0 && before[0].Name < service.Name { // both are sorted
			before = before[1:]
		}
		var old ServiceInstances
		if len(before) > 0 && before[0].Name == service.Name {
			old = before[0]
		}
		next[i] = ServiceInstances{Service: service, Since: old.Since}
		if !snapshots.ShareInstances(service, old.Service) {
			next[i].Since = sinceOf(old, service, snap.Taken)
		}
	}
	return next
}

// sinceOf returns the times for the instances of service, which were old before the snapshot that was taken then.
func sinceOf(old ServiceInstances, service sdk.Service, taken time.Time) []time.Time {
	type key struct{ hostname, id string }
	known := make(map[key]int, len(old.Instances))
	for i := range old.Instances {
		known[key{old.Instances[i].Hostname, old.Instances[i].ID}] = i
	}
	since := make([]time.Time, len(service.Instances))
	for i := range service.Instances {
		instance := &service.Instances[i]
		since[i] = taken
		if was, ok := known[key{instance.Hostname, instance.ID}]; ok && old.Instances[was].Status == instance.Status {
			since[i] = old.Since[was]
		}
	}
	return since
}

// firstSince returns the services of the first snapshot of a source.
func firstSince(snap sdk.Snapshot) []ServiceInstances {
	services := withSince(nil, snap)
	for _, service := range services {
		for i := range service.Instances {
			instance := &service.Instances[i]
			if instance.IsAlive() && !instance.Created.IsZero() && instance.Created.Before(snap.Taken) {
				service.Since[i] = instance.Created
			}
		}
	}
	return services
}
