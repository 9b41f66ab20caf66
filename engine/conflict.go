package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A conflict is two lines of a document that claim one thing that only one of them can have: see [PipelineConfig].
type conflict [2]sdk.Place

func (c conflict) key() string { return c[0].Problem + "\x00" + c[1].Problem }

// A rival is an owner for whom another one is left out.
type rival struct {
	owner
	looked sdk.Snapshot
}

// isIn reports whether the snapshot says the same of the rival. The template's own lines are always there.
func (r *rival) isIn(in *snapshotIndex) bool { return r.service == "" || in.hasAs(r.owner, r.looked) }

// yielding returns whom to leave out of r because somebody else has what they claim, and an error that says so; no error means
// that there are none. Lines that are all the template's own, or all one service's, may share what they like.
func (p *pipeline) yielding(ctx context.Context, r *rendering, in *snapshotIndex) (culprits, error) {
	if p.conflicts == nil {
		return nil, nil
	}
	var found []conflict
	for _, pair := range p.conflicts(r.document.Files) {
		if c := conflict(pair); !r.version.shared[c.key()] {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	lines := traceOf(ctx, r.version.template, r.left.without(in.snapshot), r.document.Files)
	claims := claims{in: in, against: map[owner][]claim{}}
	for _, c := range found {
		claims.add(c, lines, r.version)
	}
	return claims.decide(r.left)
}

// share notes that c is none: no service has to yield.
func (v *version) share(c conflict) {
	if v.shared == nil {
		v.shared = map[string]bool{}
	}
	v.shared[c.key()] = true
}

// claims are who claims what another owner claims as well. The zero owner is the template itself.
type claims struct {
	in      *snapshotIndex
	against map[owner][]claim
}

type claim struct {
	line  fault
	other fault
}

// add adds c, unless its two lines may share what they claim: v remembers that.
func (s *claims) add(c conflict, lines trace, v *version) {
	one, other := fault{c[0], lines.at(c[0])}, fault{c[1], lines.at(c[1])}
	if one.origin.Service == other.origin.Service {
		if one.origin.Template != "" { // else their origins are not known
			v.share(c)
		}
		return
	}
	s.against[ownerOf(one.origin)] = append(s.against[ownerOf(one.origin)], claim{one, other})
	s.against[ownerOf(other.origin)] = append(s.against[ownerOf(other.origin)], claim{other, one})
}

// decide returns left with those who have to yield. What the template itself claims it has; then comes the service whose oldest
// instance is older, and then the name decides. One that yields is in nobody's way.
func (s *claims) decide(left culprits) (culprits, error) {
	var order []owner
	for who := range s.against {
		order = append(order, who)
	}
	slices.SortFunc(order, s.compare)
	next := left.copied()
	var places []sdk.Place
	has := map[owner]bool{}
	for _, who := range order {
		looked, known := s.in.portrait(who)
		i := slices.IndexFunc(s.against[who], func(c claim) bool { return has[ownerOf(c.other.origin)] })
		if i < 0 || !known {
			has[who] = true
			continue
		}
		c := s.against[who][i]
		winner := ownerOf(c.other.origin)
		was, _ := s.in.portrait(winner)
		place := c.line.Place
		place.Problem = c.problem()
		places = append(places, place)
		next.add(who, charge{
			looked: looked, reason: reason(fault{place, c.line.origin}), rival: &rival{winner, was},
		})
	}
	if len(places) == 0 {
		return nil, nil
	}
	return next, sdk.RejectAt(places, "lines of the document exclude each other")
}

func (s *claims) compare(a, b owner) int {
	return cmp.Or(
		-compareBool(a.service == "", b.service == ""), s.oldest(a).Compare(s.oldest(b)), cmp.Compare(a.service, b.service),
		cmp.Compare(a.hostname, b.hostname), cmp.Compare(a.id, b.id))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// oldest returns when the oldest living instance of the service was created. One that does not say counts as new.
func (s *claims) oldest(who owner) time.Time {
	oldest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if service, known := s.in.services[who.service]; known {
		for _, i := range service.Instances {
			if i.IsAlive() && !i.Created.IsZero() && i.Created.Before(oldest) {
				oldest = i.Created
			}
		}
	}
	return oldest
}

// problem says what the line claims and who has that.
func (c claim) problem() string {
	holder := "the template itself"
	if c.other.origin.Service != "" {
		holder = fmt.Sprintf("service %q", c.other.origin.Service)
	}
	return fmt.Sprintf("%s, which %s has in line %d: %s", c.line.Problem, holder, c.other.Line, c.other.Problem)
}
