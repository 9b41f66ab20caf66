package engine

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// toldAtOnce bounds the lines that one snapshot writes to the log.
const toldAtOnce = 10

// Quarantined is an instance that no template sees, since what it says of itself could break out of its line in a document.
// Service, Hostname and ID are quoted, and cut, where they are no good themselves.
type Quarantined struct {
	Service, Hostname, ID string // Hostname and ID are empty for a service without instances; all are for the catalogue's Cluster
	Reason                string
}

// Quarantine returns snap without the instances whose values are no good, and who that is, in order. snap itself is left as it
// is, and services without a fault are not copied.
//
// Strings are what catalogues use for them: letters and digits of ASCII with a few marks, and host names and addresses where
// such belong. Whatever means something to HAProxy's configuration, to its command line, to a shell, to a template or to a
// terminal is not among them. Only what an instance cannot be rendered without makes it quarantined: a bad Image, label or time
// is dropped and the instance stays. A bad Cluster is made empty, and so is a Changed that cannot be written; a Last of a bad
// instance is left out.
func Quarantine(snap sdk.Snapshot) (sdk.Snapshot, []Quarantined) {
	snap, found := new(inspector).inspect(snap)
	return snap, found.quarantined
}

// An inspector does not inspect services again that are the very same as the last time. An instance of which nothing but the
// Updated time is new stays what it was, so that a comparison finds services without a change to be the same slices.
type inspector struct {
	own   ownAddresses
	known map[string]inspected
}

// An inspected is what became of a service.
type inspected struct {
	raw, clean sdk.Service
	found      findings
}

// findings are the instances that are quarantined, and those of which a value is dropped.
type findings struct {
	quarantined, dropped []Quarantined
}

func (i *inspector) inspect(snap sdk.Snapshot) (sdk.Snapshot, findings) {
	var all findings
	if reason := textFault("Cluster", snap.Cluster); reason != "" {
		all.quarantined = append(all.quarantined, Quarantined{Reason: reason})
		snap.Cluster = ""
	}
	snap.Changed = writable(snap.Changed)
	snap.Last = i.cleanChange(snap.Last)
	var services []sdk.Service
	known := make(map[string]inspected, len(snap.Services))
	for _, svc := range snap.Services {
		was := i.known[svc.Name]
		if !snapshots.ShareInstances(svc, was.raw) {
			was = i.inspectService(svc, was.clean)
		}
		known[svc.Name] = was
		if len(was.clean.Instances) > 0 || len(svc.Instances) == 0 && len(was.found.quarantined) == 0 {
			services = append(services, was.clean)
		}
		all.quarantined = append(all.quarantined, was.found.quarantined...)
		all.dropped = append(all.dropped, was.found.dropped...)
	}
	i.known, snap.Services = known, services
	sortFindings(all.quarantined)
	sortFindings(all.dropped)
	return snap, all
}

// cleanChange returns c as templates and others may have it, or nil.
func (i *inspector) cleanChange(c *sdk.Change) *sdk.Change {
	if c == nil {
		return nil
	}
	inst, _, _ := cleaned(c.Instance)
	if i.fault(&inst) != "" {
		return nil
	}
	return &sdk.Change{Instance: inst, PreviousStatus: c.PreviousStatus, Time: writable(c.Time)}
}

// inspectService returns svc as templates may see it. What it has in common with before, it shares.
func (i *inspector) inspectService(svc, before sdk.Service) inspected {
	result := inspected{raw: svc, clean: sdk.Service{Name: svc.Name}}
	if reason := serviceFault(&svc); reason != "" {
		result.found.quarantined = []Quarantined{{Service: shown(svc.Name), Reason: reason}}
	}
	asIs := true // what is clean is what came
	for n := range svc.Instances {
		inst, drops, same := cleaned(svc.Instances[n])
		is := Quarantined{Service: shown(inst.Name), Hostname: shown(inst.Hostname), ID: shown(inst.ID)}
		if is.Reason = i.memberFault(&svc, &inst); is.Reason != "" {
			result.found.quarantined = append(result.found.quarantined, is)
			asIs = false
			continue
		}
		for _, reason := range drops {
			is.Reason = reason
			result.found.dropped = append(result.found.dropped, is)
		}
		asIs = asIs && same
		result.clean.Instances = append(result.clean.Instances, inst)
	}
	if asIs {
		result.clean.Instances = svc.Instances
	}
	result.clean.Instances = unchanged(before.Instances, result.clean.Instances)
	return result
}

// unchanged returns now, with every instance that is the same as before in the state that it had then, Updated time and all: that
// moves with every heartbeat.
func unchanged(before, now []sdk.Instance) []sdk.Instance {
	type key struct{ hostname, id string }
	was := make(map[key]*sdk.Instance, len(before))
	for n := range before {
		was[key{before[n].Hostname, before[n].ID}] = &before[n]
	}
	copied, same := false, len(before) == len(now)
	for n := range now {
		old, found := was[key{now[n].Hostname, now[n].ID}]
		if !found || !snapshots.EqualInstances(*old, now[n]) {
			same = false
			continue
		}
		same = same && old == &before[n]
		if old.Updated.Equal(now[n].Updated) {
			continue
		}
		if !copied {
			now, copied = slices.Clone(now), true // the source's own are left as they are
		}
		now[n] = *old
	}
	if same {
		return before
	}
	return now
}

func sortFindings(all []Quarantined) {
	slices.SortFunc(all, func(a, b Quarantined) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Reason, b.Reason))
	})
}

// serviceFault returns what is wrong with a service that has no instance to be wrong.
func serviceFault(svc *sdk.Service) string {
	if len(svc.Instances) > 0 {
		return ""
	}
	return nameFault("Name", svc.Name)
}

func (i *inspector) memberFault(svc *sdk.Service, inst *sdk.Instance) string {
	if reason := i.fault(inst); reason != "" || inst.Name == svc.Name {
		return reason
	}
	return nameFault("the service's Name", svc.Name)
}

func (i *inspector) fault(inst *sdk.Instance) string {
	return cmp.Or(instanceFault(inst), i.own.fault(inst))
}

// admit puts into quarantine whoever of snap belongs there, and tells of it.
func (s *source) admit(snap sdk.Snapshot) sdk.Snapshot {
	s.mu.Lock()
	snap, now := s.inspector.inspect(snap)
	before := s.found
	s.found = now
	s.mu.Unlock()
	s.observer.Quarantined(s.name, len(now.quarantined))
	s.tellEach(slog.LevelWarn, "quarantined: nothing of it is rendered until its values change",
		minus(now.quarantined, before.quarantined))
	s.tellEach(slog.LevelInfo, "no longer quarantined", minus(before.quarantined, now.quarantined))
	s.tellEach(slog.LevelWarn, "a value is dropped, and the instance is rendered without it",
		minus(now.dropped, before.dropped))
	s.tellEach(slog.LevelInfo, "a value is no longer dropped", minus(before.dropped, now.dropped))
	return snap
}

// tellEach logs a line for each of them, up to a bound that a catalogue gone wild cannot lift.
func (s *source) tellEach(level slog.Level, what string, each []Quarantined) {
	for _, q := range each[:min(len(each), toldAtOnce)] {
		s.log.Log(context.Background(), level, what, "service", q.Service, "instance", q.ID, "hostname", q.Hostname,
			"reason", q.Reason)
	}
	if more := len(each) - toldAtOnce; more > 0 {
		s.log.Log(context.Background(), level, what, "and_more", more)
	}
}

// minus returns those of a that are not in b.
func minus(a, b []Quarantined) []Quarantined {
	if len(a) == 0 {
		return nil
	}
	known := make(map[Quarantined]bool, len(b))
	for _, q := range b {
		known[q] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(q Quarantined) bool { return known[q] })
}
