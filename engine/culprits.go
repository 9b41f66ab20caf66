package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// LeftOut is a service or an instance without which the rest is live: the sink rejects what is rendered for it, its iteration of
// the template fails, or somebody else has what it claims. It is tried again when the catalogue says something else of it, when
// the template changes, and when it may be otherwise: after the time that the sink named, or a minute after a failed iteration.
type LeftOut struct {
	Service      string
	Hostname, ID string // of the instance; both empty for the whole service
	Reason       string // the places in the document and in the template, and what is wrong
}

func (l LeftOut) whole() bool { return l.Hostname == "" && l.ID == "" }

func (l LeftOut) owner() owner { return owner{l.Service, !l.whole(), l.Hostname, l.ID} }

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

// A templateLine is the place in a template that rendered a fault.
type templateLine struct {
	path string
	line int
}

// A charge says why an owner is left out.
type charge struct {
	looked sdk.Snapshot // what the catalogue said of the owner
	at     templateLine // that the sink rejects; empty for another reason
	reason string
	until  time.Time // when it may be otherwise; zero for never
	rival  *rival    // who has what the owner asks for; nil for nobody
}

// culprits are those that one version of a template leaves out. But for add, methods change nothing and return what would be.
type culprits map[owner]charge

// still returns those of whom snap says the same as when they were charged, and whose time is not up.
func (c culprits) still(in *snapshotIndex) culprits {
	kept := maps.Clone(c)
	maps.DeleteFunc(kept, func(o owner, ch charge) bool {
		return !in.hasAs(o, ch.looked) || !ch.until.IsZero() && !time.Now().Before(ch.until)
	})
	others := maps.Clone(kept)
	maps.DeleteFunc(kept, func(_ owner, ch charge) bool {
		return ch.rival != nil && (!ch.rival.isIn(in) || others.cover(ch.rival.owner))
	})
	return kept
}

// soonest returns the time until it may be otherwise with one of them, and whether it may.
func (c culprits) soonest() (wait time.Duration, ok bool) {
	for _, ch := range c {
		if left := time.Until(ch.until); !ch.until.IsZero() && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return max(wait, 0), ok
}

// without returns snap with nothing of the culprits in it. Services without a culprit stay the same slices.
func (c culprits) without(snap sdk.Snapshot) sdk.Snapshot {
	if len(c) == 0 {
		return snap
	}
	concerned := map[string]bool{}
	for who := range c {
		concerned[who.service] = true
	}
	services := snap.Services
	snap.Services = nil
	for _, s := range services {
		if concerned[s.Name] {
			s.Instances = slices.DeleteFunc(slices.Clone(s.Instances), func(i sdk.Instance) bool {
				return c.cover(owner{s.Name, true, i.Hostname, i.ID})
			})
		}
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
// the charges; what may be otherwise then is not the template's fault.
func (c culprits) charged(in *snapshotIndex, faults []fault, lines trace, until time.Time) (culprits, bool) {
	next := c.copied()
	grown := false
	for _, f := range faults {
		if f.Line == 0 {
			continue // it comes to light when it is the only one
		}
		who := ownerOf(f.origin)
		looked, known := in.portrait(who)
		if !known {
			return nil, false
		}
		if !next.cover(who) {
			next.add(who, charge{
				looked: looked, at: templateLine{f.origin.Template, f.origin.Line}, reason: reason(f), until: until,
			})
			grown = true
		}
	}
	if until.IsZero() && c.templateAtFault(faults, lines) {
		return nil, false
	}
	return next, grown && next.leaves(in.snapshot)
}

func (c culprits) copied() culprits {
	if c == nil {
		return culprits{}
	}
	return maps.Clone(c)
}

// leaves reports whether anything alive of snap is left without them, if there was anything.
func (c culprits) leaves(snap sdk.Snapshot) bool { return live(snap) == 0 || live(c.without(snap)) > 0 }

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
		if ch.at.path != "" {
			all.put(ch.at, who)
		}
	}
	return all
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
