package engine

import (
	"cmp"
	"slices"
	"time"

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
// is; where all is well it is what is returned.
//
// Strings are what catalogues use for them: letters and digits of ASCII with a few marks, and host names and addresses where
// such belong. Whatever means something to HAProxy's configuration, to its command line, to a shell, to a template or to a
// terminal is not among them. A bad Cluster is made empty, and a Last of a bad instance is left out,
// and so is a Changed that cannot be written.
func Quarantine(snap sdk.Snapshot) (sdk.Snapshot, []Quarantined) {
	return new(inspector).quarantine(snap)
}

// An inspector does not look again at services that it has found nothing wrong with the last time, if they are the very same.
type inspector struct {
	well map[string]sdk.Service
}

func (i *inspector) quarantine(snap sdk.Snapshot) (sdk.Snapshot, []Quarantined) {
	var out []Quarantined
	if reason := textFault("Cluster", snap.Cluster); reason != "" {
		out = append(out, Quarantined{Reason: reason})
		snap.Cluster = ""
	}
	if timeFault("Changed", snap.Changed) != "" {
		snap.Changed = time.Time{}
	}
	if snap.Last != nil && instanceFault(&snap.Last.Instance) != "" {
		snap.Last = nil
	}
	bad := i.badInstances(snap.Services)
	if len(bad) > 0 {
		snap.Services = i.withoutFaulty(snap.Services)
	}
	return snap, append(out, bad...)
}

func (i *inspector) badInstances(services []sdk.Service) []Quarantined {
	var bad []Quarantined
	well := make(map[string]sdk.Service, len(services))
	for n := range services {
		svc := &services[n]
		var reasons []Quarantined
		if !svc.Shares(i.well[svc.Name]) {
			reasons = faultsOf(svc)
		}
		if len(reasons) == 0 {
			well[svc.Name] = *svc
		}
		bad = append(bad, reasons...)
	}
	i.well = well
	slices.SortFunc(bad, func(a, b Quarantined) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Reason, b.Reason))
	})
	return bad
}

func faultsOf(svc *sdk.Service) []Quarantined {
	var bad []Quarantined
	if reason := serviceFault(svc); reason != "" {
		bad = append(bad, Quarantined{Service: shown(svc.Name), Reason: reason})
	}
	for n := range svc.Instances {
		inst := &svc.Instances[n]
		if reason := memberFault(svc, inst); reason != "" {
			bad = append(bad, Quarantined{shown(inst.Name), shown(inst.Hostname), shown(inst.ID), reason})
		}
	}
	return bad
}

// withoutFaulty returns services as badInstances has found them, without those that are bad.
func (i *inspector) withoutFaulty(services []sdk.Service) []sdk.Service {
	var kept []sdk.Service
	for _, svc := range services {
		if svc.Shares(i.well[svc.Name]) {
			kept = append(kept, svc)
			continue
		}
		if serviceFault(&svc) != "" {
			continue
		}
		before := len(svc.Instances)
		svc.Instances = slices.DeleteFunc(slices.Clone(svc.Instances), func(inst sdk.Instance) bool {
			return memberFault(&svc, &inst) != ""
		})
		if len(svc.Instances) > 0 || before == 0 {
			kept = append(kept, svc)
		}
	}
	return kept
}

// serviceFault returns what is wrong with a service that has no instance to be wrong.
func serviceFault(svc *sdk.Service) string {
	if len(svc.Instances) > 0 {
		return ""
	}
	return nameFault("Name", svc.Name)
}

func memberFault(svc *sdk.Service, inst *sdk.Instance) string {
	if reason := instanceFault(inst); reason != "" || inst.Name == svc.Name {
		return reason
	}
	return nameFault("the service's Name", svc.Name)
}

// admit puts into quarantine whoever of snap belongs there, and tells of it.
func (s *source) admit(snap sdk.Snapshot) sdk.Snapshot {
	s.mu.Lock()
	snap, now := s.inspector.quarantine(snap)
	before := s.quarantined
	s.quarantined = now
	s.mu.Unlock()
	s.observer.Quarantined(s.name, len(now))
	s.tellEach("quarantined: nothing of it is rendered until it says something else", minus(now, before))
	s.tellEach("no longer quarantined", minus(before, now))
	return snap
}

// tellEach logs a line for each of them, up to a bound that a catalogue gone wild cannot lift.
func (s *source) tellEach(what string, each []Quarantined) {
	for _, q := range each[:min(len(each), toldAtOnce)] {
		s.log.Warn(what, "service", q.Service, "instance", q.ID, "hostname", q.Hostname, "reason", q.Reason)
	}
	if more := len(each) - toldAtOnce; more > 0 {
		s.log.Warn(what, "and_more", more)
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
