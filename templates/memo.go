package templates

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A memo remembers what a template wrote for whom in its last run, and what its view of the snapshot was, so that the next run
// does only what changed. A run has it for itself; those that are there at the same time do without.
type memo struct {
	mu     sync.Mutex
	last   *view
	rounds map[string][]*round // by number and label
	runs   uint64
	used   int // rounds that the run has kept or found

	lengths map[string]int // of the files, in bytes
}

// What is kept is bounded for templates that go on and on, or have nothing that tells their rounds apart.
const (
	maxRounds = 50_000 // of a template
	maxAlike  = 16     // with one label
	maxWord   = 1024   // bytes of a variable
)

// A round is what went into one round of a range, and what came out.
type round struct {
	run     uint64 // the last one that needed it
	inputs  []any  // the dot and the variables
	regards map[string]regard
	text    []byte
	written int // what it takes of a run's bounds
	stepped int
	finals  []any // what the variables were at the end to which it assigns
}

// A regard is all that functions tell of a service, or of what only sounds like one.
type regard struct {
	instances   []sdk.Instance // from which those follow that the proxy shall use
	clean, owns string
}

func (g regard) equal(other regard) bool {
	return g.clean == other.clean && g.owns == other.owns && same(g.instances, other.instances)
}

func (v *view) regard(service string) regard {
	return regard{v.all[service], v.sanitizeName(service), v.owns[service]}
}

// take returns m for one run, and what has to be called afterwards, or nil while another run has it.
func (m *memo) take() (taken *memo, giveBack func()) {
	if m == nil || !m.mu.TryLock() {
		return nil, func() {}
	}
	return m, m.mu.Unlock
}

// view returns snap as templates see it.
func (m *memo) view(snap sdk.Snapshot) *view {
	if m == nil {
		return newView(snap, nil)
	}
	v := newView(snap, m.last)
	// Templates may print these two anywhere.
	if m.last == nil || m.last.snap.Cluster != snap.Cluster || m.last.snap.Source != snap.Source {
		m.rounds = map[string][]*round{}
	}
	m.last = v
	m.runs++
	m.used = 0
	return v
}

// forget drops what the run did not need. Of one that failed it drops all: the next one shall find the same fault.
func (m *memo) forget(failed bool) {
	switch {
	case m == nil:
		return
	case failed:
		m.rounds = map[string][]*round{}
	}
	maps.DeleteFunc(m.rounds, func(label string, rounds []*round) bool {
		m.rounds[label] = slices.DeleteFunc(rounds, func(r *round) bool { return r.run != m.runs })
		return len(m.rounds[label]) == 0
	})
}

// buffer returns a buffer for a file of that name, with room for about as much as it had in the last run.
func (m *memo) buffer(name string) *bytes.Buffer {
	if m == nil {
		return &bytes.Buffer{}
	}
	return bytes.NewBuffer(make([]byte, 0, m.lengths[name]+m.lengths[name]/64))
}

func (m *memo) noteLength(name string, length int) {
	if m == nil {
		return
	}
	if m.lengths == nil {
		m.lengths = map[string]int{}
	}
	m.lengths[name] = length
}

// A capture is a round that is being done to be kept.
type capture struct {
	round
	label string
	start int // in the output
}

// stale writes what the round wrote the last time and returns false, if all that goes into it is the same. Otherwise the round
// has to be done, and ends with keep.
func (r *run) stale(number int, top, dot any, variables ...any) (bool, error) {
	inputs := append([]any{dot}, variables...)
	label, ok := r.label(number, top, inputs)
	if !ok {
		r.captures = append(r.captures, nil)
		return true, nil
	}
	r.memo.used++
	for _, known := range r.memo.rounds[label] {
		if r.holds(known, inputs) {
			known.run, r.kept = r.memo.runs, known.finals
			r.written += known.written
			r.stepped += known.stepped
			_, _ = r.out.Write(known.text) // a buffer
			return false, r.exceeded()
		}
	}
	begun := round{
		run: r.memo.runs, inputs: inputs, regards: map[string]regard{}, written: -r.written, stepped: -r.stepped,
	}
	r.captures = append(r.captures, &capture{begun, label, r.out.Len()})
	return true, nil
}

// label returns what is quickly looked up and different for most rounds. It reports false for one that is not kept.
func (r *run) label(number int, top any, inputs []any) (string, bool) {
	_, atRoot := top.(root)
	if !atRoot || r.memo == nil || r.memo.used >= maxRounds || r.includes > 0 || r.depth > 0 || len(r.captures) > 0 {
		return "", false
	}
	label := strconv.Itoa(number)
	for _, input := range inputs {
		name, ok := labelOf(input)
		if !ok {
			return "", false
		}
		label += "\x00" + name
	}
	return label, true
}

// holds reports whether the round would write the same again. What went into it is exchanged for what is the same now, so that
// no old snapshot is held on to.
func (r *run) holds(known *round, inputs []any) bool {
	if !slices.EqualFunc(known.inputs, inputs, sameInput) {
		return false
	}
	known.inputs = inputs
	for service, was := range known.regards {
		is := r.regard(service)
		if !was.equal(is) {
			return false
		}
		known.regards[service] = is
	}
	return true
}

// keep ends a round that had to be done.
func (r *run) keep(finals ...any) string {
	last := len(r.captures) - 1
	c := r.captures[last]
	r.captures = r.captures[:last]
	if c == nil || slices.ContainsFunc(finals, func(v any) bool { return !isPlain(v) }) {
		return ""
	}
	if alike := r.memo.rounds[c.label]; len(alike) < maxAlike {
		c.text, c.finals = bytes.Clone(r.out.Bytes()[c.start:]), finals
		c.written += r.written
		c.stepped += r.stepped + 1 // what this returns is written, too
		r.memo.rounds[c.label] = append(alike, &c.round)
	}
	return ""
}

// again returns what a variable was at the end of the round that was not done.
func (r *run) again(number int) any { return r.kept[number] }

// about notes that the round depends on what is told of the service, whose name it returns.
func (r *run) about(service string) string {
	for _, c := range r.captures {
		if c == nil {
			continue
		}
		if _, known := c.regards[service]; !known {
			c.regards[service] = r.regard(service)
		}
	}
	return service
}

// labelOf returns a label for one input. It reports false for what cannot be compared, or can be changed by those who have it.
func labelOf(input any) (string, bool) {
	switch input := input.(type) {
	case sdk.Instance:
		return input.Hostname + "\x00" + input.ID, true
	case sdk.Port:
		return fmt.Sprint(input), true
	case []sdk.Instance:
		if len(input) > 0 {
			return input[0].Name, true
		}
		return "", true
	}
	if !isPlain(input) {
		return "", false
	}
	return fmt.Sprint(input), true
}

// isPlain reports whether v is a word, a number or nothing.
func isPlain(v any) bool {
	if v == nil {
		return true
	}
	value := reflect.ValueOf(v)
	kind := value.Kind()
	return kind >= reflect.Bool && kind <= reflect.Complex128 || kind == reflect.String && value.Len() <= maxWord
}

func sameInput(a, b any) bool {
	switch a := a.(type) {
	case []sdk.Instance:
		b, ok := b.([]sdk.Instance)
		return ok && same(a, b)
	case sdk.Instance:
		b, ok := b.(sdk.Instance)
		return ok && sameInstance(a, b)
	}
	return a == b // which has another type for a port and its number
}

// same reports whether templates cannot tell a from b.
func same(a, b []sdk.Instance) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	return len(a) == 0 || &a[0] == &b[0] || slices.EqualFunc(a, b, sameInstance)
}

func sameInstance(a, b sdk.Instance) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Image == b.Image && a.Hostname == b.Hostname && a.ProxyMode == b.ProxyMode &&
		a.Status == b.Status && a.Created == b.Created && a.Updated == b.Updated && //nolint:staticcheck // to the last bit
		(a.Ports == nil) == (b.Ports == nil) && slices.Equal(a.Ports, b.Ports) &&
		(a.Labels == nil) == (b.Labels == nil) && maps.Equal(a.Labels, b.Labels)
}
