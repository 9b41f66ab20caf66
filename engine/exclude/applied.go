package exclude

import "github.com/haproxy-api/haproxy-api/plugins/sdk"

// Applied is a document that is live, by what it was rendered from. The nil Applied is none. It must not be used by several
// goroutines at once.
type Applied struct {
	Snapshot sdk.Snapshot
	Excluded []Exclusion

	index    *Index // made on demand
	excluded Set
}

func (a *Applied) prepare() {
	if a.index == nil {
		a.index, a.excluded = NewIndex(a.Snapshot), NewSet(a.Excluded)
	}
}

// contains reports whether the document has the owner as it is in state.
func (a *Applied) contains(o owner, state sdk.Snapshot) bool {
	if a == nil {
		return false
	}
	a.prepare()
	return a.index.contains(o, state) && !a.excluded.covers(o)
}

func (a *Applied) containsAny(s Set) bool {
	for o, e := range s {
		if a.contains(o, e.state) {
			return true
		}
	}
	return false
}

// Survivors counts the live instances of the indexed snapshot that the document has in any state, and those of them that excluded
// does not cover.
func (a *Applied) Survivors(x *Index, excluded Set) (had, has int) {
	a.prepare()
	for _, s := range x.snapshot.Services {
		for i := range s.Instances {
			o := instanceOwner(s.Name, &s.Instances[i])
			if _, found := a.index.find(o); !found || a.excluded.covers(o) || !s.Instances[i].IsAlive() {
				continue
			}
			had++
			if !excluded.covers(o) {
				has++
			}
		}
	}
	return had, has
}
