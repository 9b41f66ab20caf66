package exclude

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Conflict is two lines of a document that need one resource of which there is only one, such as an address to listen on. The
// Problem of each position names the resource.
type Conflict = [2]sdk.Position

// AllowedConflicts remembers the conflicts of one version of a template that exclude nothing, because both lines belong to one
// service or to the template itself.
type AllowedConflicts map[[2]string]bool

func conflictKey(c Conflict) [2]string { return [2]string{c[0].Problem, c[1].Problem} }

// A winner is the owner that keeps the resource in a conflict.
type winner struct {
	owner
	state sdk.Snapshot
}

// isIn reports whether the indexed snapshot has the winner as it was. The template's own lines are always there.
func (w *winner) isIn(x *Index) bool { return w.service == "" || x.contains(w.owner, w.state) }

// resolveConflicts returns r's exclusions with the owners that lose a conflict, and a rejection of their lines. It returns nil if
// there is nothing to exclude.
func (p *Pass) resolveConflicts(ctx context.Context, r *Rendering) (Set, error) {
	if p.Conflicts == nil {
		return nil, nil
	}
	var conflicts []Conflict
	for _, c := range p.Conflicts(r.Document.Files) {
		if !p.AllowedConflicts[conflictKey(c)] {
			conflicts = append(conflicts, c)
		}
	}
	if len(conflicts) == 0 {
		return nil, nil
	}
	lines := p.sourceMap(ctx, r)
	contest := contest{index: p.Index, lines: map[owner][]contestedLine{}}
	for _, c := range conflicts {
		one, other := fault{c[0], lines.at(c[0])}, fault{c[1], lines.at(c[1])}
		switch {
		case one.origin.Service != other.origin.Service:
			contest.add(one, other)
			contest.add(other, one)
		case one.origin.Template != "": // otherwise the origins are not known
			p.AllowedConflicts[conflictKey(c)] = true
		}
	}
	return contest.decide(r.Excluded)
}

// A contest decides which owners keep the resources that their lines need.
type contest struct {
	index *Index
	lines map[owner][]contestedLine
}

// A contestedLine is a line that needs what another line needs too.
type contestedLine struct {
	line, other fault
}

func (c *contest) add(line, other fault) {
	o := ownerOf(line.origin)
	c.lines[o] = append(c.lines[o], contestedLine{line, other})
}

// decide returns excluded with the owners that lose, and a rejection of their lines, or nil if none loses. Owners are considered
// in the order of compare, and each keeps its resources unless an earlier one has them: a loser excludes no other owner.
func (c *contest) decide(excluded Set) (Set, error) {
	var owners []owner
	for o := range c.lines {
		owners = append(owners, o)
	}
	slices.SortFunc(owners, c.compare)
	next := excluded.clone()
	var positions []sdk.Position
	winners := map[owner]bool{}
	for _, o := range owners {
		state, found := c.index.find(o)
		i := slices.IndexFunc(c.lines[o], func(l contestedLine) bool { return winners[ownerOf(l.other.origin)] })
		if i < 0 || !found {
			winners[o] = true
			continue
		}
		lost := c.lines[o][i]
		by := ownerOf(lost.other.origin)
		byState, _ := c.index.find(by)
		position := lost.line.Position
		position.Problem = lost.problem()
		positions = append(positions, position)
		next.add(o, entry{
			state: state, reason: fault{position, lost.line.origin}.reason(), winner: &winner{by, byState},
		})
	}
	if len(positions) == 0 {
		return nil, nil
	}
	return next, &sdk.Rejection{Err: errors.New("lines of the document conflict"), Positions: positions}
}

// compare orders owners by precedence: the template itself, then the service whose oldest instance is older, then by name.
func (c *contest) compare(a, b owner) int {
	return cmp.Or(
		cmp.Compare(a.service, "")-cmp.Compare(b.service, ""), c.oldest(a).Compare(c.oldest(b)),
		cmp.Compare(a.service, b.service),
		cmp.Compare(a.hostname, b.hostname), cmp.Compare(a.id, b.id))
}

// oldest returns when the oldest live instance of o's service was created. An instance without that time counts as new.
func (c *contest) oldest(o owner) time.Time {
	oldest := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if service, found := c.index.services[o.service]; found {
		for _, i := range service.Instances {
			if i.IsAlive() && !i.Created.IsZero() && i.Created.Before(oldest) {
				oldest = i.Created
			}
		}
	}
	return oldest
}

func (l contestedLine) problem() string {
	holder := "the template itself"
	if l.other.origin.Service != "" {
		holder = fmt.Sprintf("service %q", l.other.origin.Service)
	}
	return fmt.Sprintf("%s, which %s has in line %d: %s", l.line.Problem, holder, l.other.Line, l.other.Problem)
}
