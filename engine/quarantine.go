package engine

import (
	"cmp"
	"log/slog"
	"slices"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Quarantined is an instance that no template gets, because its values could break out of their line in a document. Service,
// Hostname and ID are quoted and cut if they are invalid themselves.
type Quarantined struct {
	Service, Hostname, ID string // Hostname and ID are empty for a service without instances, all three for the Cluster
	Reason                string
}

// Quarantine returns snap without the instances that have invalid values, and those instances, sorted. It does not modify
// snap, and does not copy services that are valid.
//
// Strings may have ASCII letters and digits and a few other characters, and some must be host names or addresses. Characters
// that mean something to HAProxy's configuration, to its command line, to a shell, to a template or to a terminal are not
// among them. Only what an instance cannot be rendered without quarantines it: an invalid Image, label or time is dropped and
// the instance stays. An invalid Cluster becomes empty, and so does a Changed that JSON cannot represent; a Last with an
// invalid instance becomes nil.
func Quarantine(snap sdk.Snapshot) (sdk.Snapshot, []Quarantined) {
	snap, found := new(inspector).inspect(snap)
	return snap, found.quarantined
}

// An inspector validates the snapshots of a source. It does not validate services again that share their instances with the
// last snapshot. An instance of which only the Updated time has changed stays as it was, so that services without a change
// keep sharing their instances.
type inspector struct {
	own   ownAddresses
	known map[string]*inspected // by service
}

// inspected is a service before and after validation.
type inspected struct {
	raw, clean sdk.Service
	found      findings
}

// findings are the instances that are quarantined, and those with a value that is dropped.
type findings struct {
	quarantined, dropped []Quarantined
}

func (i *inspector) inspect(snap sdk.Snapshot) (sdk.Snapshot, findings) {
	var all findings
	if reason := textFault("Cluster", snap.Cluster); reason != "" {
		all.quarantined = append(all.quarantined, Quarantined{Reason: reason})
		snap.Cluster = ""
	}
	snap.Changed = encodable(snap.Changed)
	snap.Last = i.cleanChange(snap.Last)
	services := slices.Grow([]sdk.Service(nil), len(snap.Services))
	known := make(map[string]*inspected, len(snap.Services))
	for _, svc := range snap.Services {
		was := i.known[svc.Name]
		switch {
		case was == nil:
			was = i.inspectService(svc, sdk.Service{})
		case !snapshots.ShareInstances(svc, was.raw):
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

// cleanChange returns c without invalid values, or nil if its instance is invalid.
func (i *inspector) cleanChange(c *sdk.Change) *sdk.Change {
	if c == nil {
		return nil
	}
	inst, _, _ := cleaned(c.Instance)
	if i.fault(&inst) != "" {
		return nil
	}
	return &sdk.Change{Instance: inst, PreviousStatus: c.PreviousStatus, Time: encodable(c.Time)}
}

// inspectService validates svc. The result shares with before, the last valid one, what has not changed.
func (i *inspector) inspectService(svc, before sdk.Service) *inspected {
	result := &inspected{raw: svc, clean: sdk.Service{Name: svc.Name}}
	if reason := serviceFault(&svc); reason != "" {
		result.found.quarantined = []Quarantined{{Service: shown(svc.Name), Reason: reason}}
	}
	same := true // nothing is quarantined, dropped or normalized
	for n := range svc.Instances {
		inst, drops, unchanged := cleaned(svc.Instances[n])
		finding := Quarantined{Service: shown(inst.Name), Hostname: shown(inst.Hostname), ID: shown(inst.ID)}
		if finding.Reason = i.memberFault(&svc, &inst); finding.Reason != "" {
			result.found.quarantined = append(result.found.quarantined, finding)
			same = false
			continue
		}
		for _, reason := range drops {
			finding.Reason = reason
			result.found.dropped = append(result.found.dropped, finding)
		}
		same = same && unchanged
		result.clean.Instances = append(result.clean.Instances, inst)
	}
	if same {
		result.clean.Instances = svc.Instances
	}
	result.clean.Instances = reuseUnchanged(before.Instances, result.clean.Instances)
	return result
}

// reuseUnchanged returns now, with the instances of before where only Updated differs, because every heartbeat changes Updated.
// It returns before itself if nothing else has changed.
func reuseUnchanged(before, now []sdk.Instance) []sdk.Instance {
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
			now, copied = slices.Clone(now), true // the source's own slice must not change
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

// serviceFault returns why a service without instances is invalid, or "".
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

// quarantine returns snap without invalid instances and values, and logs what has changed about them.
func (s *source) quarantine(snap sdk.Snapshot) sdk.Snapshot {
	s.mu.Lock()
	snap, now := s.inspector.inspect(snap)
	before := s.findings
	s.findings = now
	s.mu.Unlock()
	report := func(level slog.Level, message string, before, now []Quarantined) {
		logEach(s.log, level, message, added(before, now, func(q Quarantined) Quarantined { return q }), Quarantined.attrs)
	}
	report(slog.LevelWarn, "quarantined: no template gets it until its values change", before.quarantined, now.quarantined)
	report(slog.LevelInfo, "no longer quarantined", now.quarantined, before.quarantined)
	report(slog.LevelWarn, "value dropped: templates get the instance without it", before.dropped, now.dropped)
	report(slog.LevelInfo, "value no longer dropped", now.dropped, before.dropped)
	return snap
}

// attrs returns the attributes of a log line.
func (q Quarantined) attrs() []any {
	return []any{"service", q.Service, "instance", q.ID, "hostname", q.Hostname, "reason", q.Reason}
}
