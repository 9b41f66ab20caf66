package sidecartest

import (
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An event is a change that is pushed to listeners.
type event struct {
	instance sdk.Instance
	previous sdk.Status
	time     time.Time
}

// A Batch collects changes, see [Sidecar.Burst]. It must not be used after that call.
type Batch struct {
	catalogue *catalogue
	now       func() time.Time
	events    []event
}

// Add adds an instance to the catalogue, or replaces the one with its Hostname and ID. It sets Updated to the current time, and
// Created too if that is zero. The previous status of a new instance is [sdk.Unknown].
func (b *Batch) Add(instance sdk.Instance) {
	previous := sdk.Unknown
	if old, known := b.catalogue.get(instance.Hostname, instance.ID); known {
		previous = old.Status
	}
	b.change(instance, previous)
}

// SetStatus changes the status of an instance. It reports whether the instance exists and had another status.
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

// Remove makes an instance a tombstone. It reports whether the instance exists and was none.
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

// Burst makes several changes with the same LastChanged, and then queues one event for each of them.
func (s *Sidecar) Burst(changes func(*Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.apply(changes) {
		s.announce(e)
	}
}

// Quietly makes changes without events, as if all events had been dropped. [Sidecar.ServeHTTP] serves the changed catalogue.
func (s *Sidecar) Quietly(changes func(*Batch)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apply(changes)
}

func (s *Sidecar) apply(changes func(*Batch)) []event {
	b := &Batch{catalogue: &s.catalogue, now: s.options.Now}
	changes(b)
	if len(b.events) > 0 {
		// The time of the last change and not of a clock, so that it can run backwards.
		s.catalogue.changed = b.events[len(b.events)-1].time
	}
	return b.events
}

// Add makes a burst of one [Batch.Add].
func (s *Sidecar) Add(instance sdk.Instance) { s.Burst(func(b *Batch) { b.Add(instance) }) }

// SetStatus makes a burst of one [Batch.SetStatus].
func (s *Sidecar) SetStatus(hostname, id string, status sdk.Status) (changed bool) {
	s.Burst(func(b *Batch) { changed = b.SetStatus(hostname, id, status) })
	return changed
}

// Drain sets the status [sdk.Draining]. It reports whether that is a change.
func (s *Sidecar) Drain(hostname, id string) bool { return s.SetStatus(hostname, id, sdk.Draining) }

// Remove makes an instance a tombstone. It reports whether that is a change.
func (s *Sidecar) Remove(hostname, id string) bool { return s.SetStatus(hostname, id, sdk.Tombstone) }

// Touch sets the Updated of every instance to the current time, without an event.
func (s *Sidecar) Touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalogue.touch(s.options.Now().UTC())
}
