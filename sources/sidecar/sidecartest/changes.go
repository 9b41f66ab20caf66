package sidecartest

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An event is one change, as listeners are told of it.
type event struct {
	instance sdk.Instance
	previous sdk.Status
	time     time.Time
}

// A Batch is a series of changes, see [Sidecar.Burst]. It is of no use after that call.
type Batch struct {
	catalogue *catalogue
	now       func() time.Time
	events    []event
}

// Add puts an instance into the catalogue, or replaces the one with its Hostname and ID. Its Updated becomes the
// present time, and so does Created if it is zero. A new instance comes from the status unknown.
func (b *Batch) Add(instance sdk.Instance) {
	previous := sdk.Unknown
	if old, known := b.catalogue.get(instance.Hostname, instance.ID); known {
		previous = old.Status
	}
	b.change(instance, previous)
}

// SetStatus changes the status of an instance. It reports whether there is such an instance with another status.
func (b *Batch) SetStatus(hostname, id string, status sdk.Status) bool {
	instance, known := b.catalogue.get(hostname, id)
	if !known || instance.Status == status {
		return false
	}
	previous := instance.Status
	instance.Status = status
	b.change(instance, previous)
	return true
}

// Remove makes an instance a tombstone. It reports whether there was one.
func (b *Batch) Remove(hostname, id string) bool { return b.SetStatus(hostname, id, sdk.Tombstone) }

func (b *Batch) change(instance sdk.Instance, previous sdk.Status) {
	instance.Ports = slices.Clone(instance.Ports)
	instance.Updated = b.now().UTC()
	if instance.Created.IsZero() {
		instance.Created = instance.Updated
	}
	b.catalogue.put(instance)
	b.events = append(b.events, event{instance, previous, instance.Updated})
}

// Burst makes several changes under one LastChanged, and then queues one event for each of them.
func (s *Sidecar) Burst(changes func(*Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.apply(changes) {
		s.announce(e)
	}
}

// Quietly makes changes of which nobody is told, as if all of their events had been dropped. [Sidecar.ServeHTTP] knows
// them all the same.
func (s *Sidecar) Quietly(changes func(*Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(changes)
}

func (s *Sidecar) apply(changes func(*Batch)) []event {
	b := &Batch{catalogue: &s.catalogue, now: s.options.Now}
	changes(b)
	if len(b.events) > 0 {
		// Copied from the last change, not asked of a clock: it may run backwards.
		s.catalogue.changed = b.events[len(b.events)-1].time
	}
	return b.events
}

// Add is a burst of one [Batch.Add].
func (s *Sidecar) Add(instance sdk.Instance) { s.Burst(func(b *Batch) { b.Add(instance) }) }

// SetStatus is a burst of one [Batch.SetStatus].
func (s *Sidecar) SetStatus(hostname, id string, status sdk.Status) (changed bool) {
	s.Burst(func(b *Batch) { changed = b.SetStatus(hostname, id, status) })
	return changed
}

// Drain makes an instance finish what it has. It reports whether that is a change.
func (s *Sidecar) Drain(hostname, id string) bool { return s.SetStatus(hostname, id, sdk.Draining) }

// Remove makes an instance a tombstone. It reports whether that is a change.
func (s *Sidecar) Remove(hostname, id string) bool { return s.SetStatus(hostname, id, sdk.Tombstone) }

// Touch moves the Updated of every instance to the present time, which is no event.
func (s *Sidecar) Touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.touch(s.options.Now().UTC())
}
