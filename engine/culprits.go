package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// LeftOut is a service or an instance without which the rest is live, because the sink rejects what is rendered for it. It is
// tried again when the catalogue says something else of it, when the template changes, and when the sink said that it may judge
// otherwise.
type LeftOut struct {
	Service      string
	Hostname, ID string // of the instance; both empty for the whole service
	Reason       string // the places in the document and in the template, and what is wrong
}

// same reports whether other is about the same one, for whatever reason.
func (l LeftOut) same(other LeftOut) bool {
	return l.Service == other.Service && l.Hostname == other.Hostname && l.ID == other.ID
}

func (l LeftOut) whole() bool { return l.Hostname == "" && l.ID == "" }

// fields are for a line in the log.
func (l LeftOut) fields() []any {
	fields := []any{"service", l.Service}
	if !l.whole() {
		fields = append(fields, "instance", l.ID, "hostname", l.Hostname)
	}
	return fields
}

// An owner is whom a line of a document is about.
type owner struct {
	service      string
	instance     bool // one alone
	hostname, id string
}

func ownerOf(o Origin) owner {
	if o.Instance == nil {
		return owner{service: o.Service}
	}
	return owner{o.Service, true, o.Instance.Hostname, o.Instance.ID}
}

func (o owner) whole() owner { return owner{service: o.service} }

// portrait returns what snap says of the owner, and whether it knows it.
func (o owner) portrait(snap sdk.Snapshot) (sdk.Snapshot, bool) {
	i := slices.IndexFunc(snap.Services, func(s sdk.Service) bool { return s.Name == o.service })
	if i < 0 || o.service == "" {
		return sdk.Snapshot{}, false
	}
	service := sdk.Service{Name: o.service}
	for _, inst := range snap.Services[i].Instances {
		if !o.instance || inst.Hostname == o.hostname && inst.ID == o.id {
			service.Instances = append(service.Instances, inst)
		}
	}
	return sdk.Snapshot{Services: []sdk.Service{service}}, len(service.Instances) > 0
}

// A templateLine is the place in a template that rendered a fault.
type templateLine struct {
	path string
	line int
}

// A charge says why an owner is left out.
type charge struct {
	looked sdk.Snapshot // what the catalogue said of the owner
	at     templateLine
	reason string
	until  time.Time // when the sink may judge otherwise; zero for never
}

// culprits are those that one version of a template leaves out. But for add, methods change nothing and return what would be.
type culprits map[owner]charge

// still returns those of whom snap says the same as when they were charged, if the sink has not changed its mind by now.
func (c culprits) still(snap sdk.Snapshot) culprits {
	kept := maps.Clone(c)
	maps.DeleteFunc(kept, func(o owner, ch charge) bool {
		looks, known := o.portrait(snap)
		return !known || !looks.SameCatalogue(ch.looked) || !ch.until.IsZero() && !time.Now().Before(ch.until)
	})
	return kept
}

// soonest returns the time until the sink may judge one of them otherwise, and whether it may.
func (c culprits) soonest() (wait time.Duration, ok bool) {
	for _, ch := range c {
		if left := time.Until(ch.until); !ch.until.IsZero() && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return max(wait, 0), ok
}

// without returns snap with nothing of the culprits in it.
func (c culprits) without(snap sdk.Snapshot) sdk.Snapshot {
	if len(c) == 0 {
		return snap
	}
	services := snap.Services
	snap.Services = nil
	for _, s := range services {
		s.Instances = slices.DeleteFunc(slices.Clone(s.Instances), func(i sdk.Instance) bool {
			return c.cover(owner{s.Name, true, i.Hostname, i.ID})
		})
		if len(s.Instances) > 0 {
			snap.Services = append(snap.Services, s)
		}
	}
	return snap
}

// cover reports whether o is left out, by itself or with its service.
func (c culprits) cover(o owner) bool {
	_, itself := c[o]
	_, whole := c[o.whole()]
	return itself || whole
}

// any reports whether is holds for one of them.
func (c culprits) any(is func(owner, charge) bool) bool {
	for who, ch := range c {
		if is(who, ch) {
			return true
		}
	}
	return false
}

// charged returns c with those whom the faults are about, and false where leaving out more is no way out: a fault is
// nobody's, nobody new is found, a line of the template is wrong whomever it is about, or nothing would be left. until is for
// the charges.
func (c culprits) charged(snap sdk.Snapshot, faults []fault, lines trace, until time.Time) (culprits, bool) {
	next := maps.Clone(c)
	if next == nil {
		next = culprits{}
	}
	grown := false
	for _, f := range faults {
		if f.Line == 0 {
			continue // it comes to light when it is the only one
		}
		who := ownerOf(f.origin)
		looked, known := who.portrait(snap)
		if !known {
			return nil, false
		}
		if !next.cover(who) {
			next.add(who, charge{looked, templateLine{f.origin.Template, f.origin.Line}, reason(f), until})
			grown = true
		}
	}
	if !grown || c.templateAtFault(faults, lines) || hasLife(snap) && !hasLife(next.without(snap)) {
		return nil, false
	}
	return next, true
}

// add takes a service in the place of its instances.
func (c culprits) add(who owner, ch charge) {
	if !who.instance {
		maps.DeleteFunc(c, func(o owner, _ charge) bool { return o.service == who.service })
	}
	c[who] = ch
}

// templateAtFault reports whether a line of the template is wrong for everybody for whom it was rendered, and these are
// several services: then it is not them. Otherwise a mistake in a template would take the services away one by one.
func (c culprits) templateAtFault(faults []fault, lines trace) bool {
	faulty, rendered := c.byLine(), c.byLine()
	for _, f := range faults {
		faulty.add(f.origin)
	}
	for _, origins := range lines {
		for _, o := range origins {
			rendered.add(o)
		}
	}
	for at, all := range rendered {
		services := map[string]bool{}
		for who := range all {
			services[who.service] = true
		}
		if len(services) > 1 && len(faulty[at]) == len(all) {
			return true
		}
	}
	return false
}

// owners are those for whom a line of the template was rendered.
type owners map[templateLine]map[owner]bool

func (o owners) add(from Origin) {
	if from.Service != "" {
		o.put(templateLine{from.Template, from.Line}, ownerOf(from))
	}
}

func (o owners) put(at templateLine, who owner) {
	if o[at] == nil {
		o[at] = map[owner]bool{}
	}
	o[at][who] = true
}

func (c culprits) byLine() owners {
	all := owners{}
	for who, ch := range c {
		all.put(ch.at, who)
	}
	return all
}

func hasLife(snap sdk.Snapshot) bool {
	return slices.ContainsFunc(snap.Services, func(s sdk.Service) bool {
		return slices.ContainsFunc(s.Instances, sdk.Instance.IsAlive)
	})
}

// reason says what is wrong without the owner, whom the reader knows.
func reason(f fault) string {
	return fmt.Sprintf("%s (%s:%d): %s", f.Place, f.origin.Template, f.origin.Line, f.Problem)
}

// list tells the culprits by name.
func (c culprits) list() []LeftOut {
	var all []LeftOut
	for who, ch := range c {
		all = append(all, LeftOut{who.service, who.hostname, who.id, ch.reason})
	}
	slices.SortFunc(all, func(a, b LeftOut) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
	})
	return all
}
