package exclude

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Set is the services and instances that one version of a template is rendered without. The nil Set is empty. Methods do not
// modify the Set; those that extend it return another one, or nil if excluding more does not help.
type Set map[owner]entry

// An entry says why an owner is excluded.
type entry struct {
	state   sdk.Snapshot // the owner when it was excluded
	line    templateLine // the template's line that rendered what the sink rejects; zero for another reason
	reason  string
	retryAt time.Time // when the reason may be over; zero for never
	winner  *winner   // of a conflict; nil for another reason
}

// A templateLine is a line of a template.
type templateLine struct {
	path string
	line int
}

// failureRetry is the time after which a failed iteration is tried again: it may depend on more than its owner.
const failureRetry = time.Minute

// NewSet returns the set of the listed services and instances. Its entries never end.
func NewSet(list []Exclusion) Set {
	s := Set{}
	for _, e := range list {
		s[e.owner()] = entry{}
	}
	return s
}

// List returns the exclusions, sorted by service, hostname and ID.
func (s Set) List() []Exclusion {
	var list []Exclusion
	for o, e := range s {
		list = append(list, Exclusion{o.service, o.hostname, o.id, e.reason})
	}
	slices.SortFunc(list, func(a, b Exclusion) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Current returns the entries that still hold: the indexed snapshot has the owner as it was when it was excluded, and the entry's
// time has not come.
func (s Set) Current(x *Index) Set {
	current := maps.Clone(s)
	maps.DeleteFunc(current, func(o owner, e entry) bool {
		return !x.contains(o, e.state) || !e.retryAt.IsZero() && !time.Now().Before(e.retryAt)
	})
	others := maps.Clone(current)
	maps.DeleteFunc(current, func(_ owner, e entry) bool {
		return e.winner != nil && (!e.winner.isIn(x) || others.covers(e.winner.owner))
	})
	return current
}

// RetryIn returns the time until the first entry ends, and false if none ends by itself.
func (s Set) RetryIn() (time.Duration, bool) {
	var wait time.Duration
	found := false
	for _, e := range s {
		if left := time.Until(e.retryAt); !e.retryAt.IsZero() && (!found || left < wait) {
			wait, found = left, true
		}
	}
	return max(wait, 0), found
}

// Filter returns snap without the excluded services and instances. Services that have none of them share their instances
// with snap.
func (s Set) Filter(snap sdk.Snapshot) sdk.Snapshot {
	if len(s) == 0 {
		return snap
	}
	concerned := map[string]bool{}
	for o := range s {
		concerned[o.service] = true
	}
	services := snap.Services
	snap.Services = nil
	for _, service := range services {
		if concerned[service.Name] {
			service.Instances = slices.DeleteFunc(slices.Clone(service.Instances), func(i sdk.Instance) bool {
				return s.covers(instanceOwner(service.Name, &i))
			})
		}
		if len(service.Instances) > 0 {
			snap.Services = append(snap.Services, service)
		}
	}
	return snap
}

// IsSubsetOf reports whether other covers everything in s.
func (s Set) IsSubsetOf(other Set) bool {
	for o := range s {
		if !other.covers(o) {
			return false
		}
	}
	return true
}

// covers reports whether o is excluded, by itself or with its service.
func (s Set) covers(o owner) bool {
	_, itself := s[o]
	_, service := s[o.wholeService()]
	return itself || service
}

func (s Set) clone() Set {
	if s == nil {
		return Set{}
	}
	return maps.Clone(s)
}

// add modifies s. A service replaces its instances.
func (s Set) add(o owner, e entry) {
	if !o.instance {
		maps.DeleteFunc(s, func(other owner, _ entry) bool { return other.service == o.service })
	}
	s[o] = e
}

// leavesLive reports whether snap has live instances without s, if it has any.
func (s Set) leavesLive(snap sdk.Snapshot) bool { return !hasLive(snap) || hasLive(s.Filter(snap)) }

func hasLive(snap sdk.Snapshot) bool {
	return slices.ContainsFunc(snap.Services, func(s sdk.Service) bool {
		return slices.ContainsFunc(s.Instances, sdk.Instance.IsAlive)
	})
}

// withFailures returns s with the owners whose iterations failed with err. It returns nil if a failure has no owner, if no owner
// is new, or if no live instance would be left.
func (s Set) withFailures(x *Index, err error) Set {
	failures := []error{err}
	if all, ok := errors.AsType[interface {
		error
		Failures() []error
	}](err); ok {
		failures = all.Failures()
	}
	next := s.clone()
	grown := false
	for _, failure := range failures {
		if IsEndless(failure) { // another owner's iteration may take as long
			return nil
		}
		owned, ok := errors.AsType[interface {
			error
			Owner() (service string, instance *sdk.Instance)
		}](failure)
		if !ok {
			return nil
		}
		service, instance := owned.Owner()
		o := ownerOf(Origin{Service: service, Instance: instance})
		state, found := x.find(o)
		if !found {
			return nil
		}
		if !next.covers(o) {
			next.add(o, entry{state: state, reason: failure.Error(), retryAt: time.Now().Add(failureRetry)})
			grown = true
		}
	}
	if !grown || !next.leavesLive(x.snapshot) {
		return nil
	}
	return next
}

// IsEndless reports whether err, which a template returned, says that rendering any snapshot takes long and fails in the same
// way.
func IsEndless(err error) bool {
	e, ok := errors.AsType[interface {
		error
		Endless() bool
	}](err)
	return ok && e.Endless()
}

// withRejected returns s with the owners of the rejected lines, until retryAt unless that is zero. It returns nil if a line
// has no owner, if no owner is new, if the template is at fault, or if no live instance would be left. A fault that may be
// over soon is never the template's.
func (s Set) withRejected(x *Index, faults []fault, lines sourceMap, retryAt time.Time) Set {
	next := s.clone()
	grown := false
	for _, f := range faults {
		if f.Line == 0 {
			continue // its line becomes known when it is the only fault
		}
		o := ownerOf(f.origin)
		state, found := x.find(o)
		if !found {
			return nil
		}
		if !next.covers(o) {
			next.add(o, entry{
				state: state, line: templateLine{f.origin.Template, f.origin.Line}, reason: f.reason(), retryAt: retryAt,
			})
			grown = true
		}
	}
	if !grown || retryAt.IsZero() && s.isTemplateAtFault(faults, lines) || !next.leavesLive(x.snapshot) {
		return nil
	}
	return next
}

// isTemplateAtFault reports whether a line of the template was rejected for every owner that it was rendered for, and these
// belong to several services. Without this check, a mistake in the template would exclude one service after another.
func (s Set) isTemplateAtFault(faults []fault, lines sourceMap) bool {
	faulty, rendered := ownersByLine{}, ownersByLine{}
	for o, e := range s {
		if e.line.path != "" {
			faulty.add(e.line, o)
			rendered.add(e.line, o)
		}
	}
	for _, f := range faults {
		faulty.addOrigin(f.origin)
	}
	for _, origins := range lines {
		for _, origin := range origins {
			rendered.addOrigin(origin)
		}
	}
	for line, owners := range rendered {
		services := map[string]bool{}
		for o := range owners {
			services[o.service] = true
		}
		if len(services) > 1 && len(faulty[line]) == len(owners) {
			return true
		}
	}
	return false
}

// ownersByLine has the owners that each line of the template was rendered for.
type ownersByLine map[templateLine]map[owner]bool

func (m ownersByLine) add(line templateLine, o owner) {
	if m[line] == nil {
		m[line] = map[owner]bool{}
	}
	m[line][o] = true
}

func (m ownersByLine) addOrigin(origin Origin) {
	if origin.Service != "" {
		m.add(templateLine{origin.Template, origin.Line}, ownerOf(origin))
	}
}

const notChecked = "the sink does not report more faults at a time; this one is checked soon"

// withUnchecked returns s with the owners of the lines that the sink may not have read, because they follow the last fault: those
// of services that have faults, or those of all. Owners that are live stay.
func (s Set) withUnchecked(x *Index, faults []fault, lines sourceMap, applied *Applied, all bool) Set {
	faulty, last := map[string]bool{}, map[string]int{}
	for o := range s {
		faulty[o.service] = true
	}
	for _, f := range faults {
		last[f.File] = max(last[f.File], f.Line)
	}
	next := s.clone()
	for file, line := range last {
		for _, origin := range lines[file][min(line, len(lines[file])):] {
			o := ownerOf(origin)
			state, found := x.find(o)
			if found && (all || faulty[o.service]) && !next.covers(o) && !applied.contains(o, state) {
				next.add(o, entry{state: state, reason: notChecked, retryAt: time.Now().Add(continueAfter)})
			}
		}
	}
	if !next.leavesLive(x.snapshot) {
		return s
	}
	return next
}
