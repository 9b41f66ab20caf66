package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A random puts random entries and documents.
type random struct {
	*rand.Rand
	log   *Log
	small bool // the entries and documents are small
}

func (r random) text(most int) string { return strings.Repeat("ä", r.count(most)) }

// count returns a number below most.
func (r random) count(most int) int {
	if r.small {
		most = most/100 + 1
	}
	return r.IntN(most)
}

func (r random) list(most int) []string {
	var all []string
	for range r.count(most) {
		all = append(all, r.text(1000))
	}
	return all
}

// put adds an entry, or updates one of the last ones.
func (r random) put() {
	generation := r.log.generation
	if n := uint64(r.IntN(8)); n < 5 && n < generation {
		generation -= n
	} else {
		generation = r.log.Next()
	}
	c := Change{
		Generation: generation, Document: generation, Digest: fmt.Sprint(r.IntN(5)), Outcome: Outcomes()[r.IntN(len(Outcomes()))],
		Action: []string{sdk.ActionReload, sdk.ActionRuntime, sdk.ActionUnchanged}[r.IntN(3)], Received: moment, Updated: moment,
		Reason: r.text(3000), Error: r.text(3000), Instances: r.list(80), Excluded: r.list(150), Notes: r.list(150),
		Details: r.list(80),
	}
	for range r.count(200) {
		c.Commands = append(c.Commands, Command{r.text(700), r.text(700)})
	}
	for range r.count(80) {
		c.Steps = append(c.Steps, Step{Name: r.text(700)})
	}
	r.log.Put(c, strings.Repeat("+\n", r.count(maxDiff/2)))
	size := r.count(1 << 20)
	r.log.PutDocument(sdk.Document{Generation: generation, Files: []sdk.File{{Name: "a", Content: make([]byte, size)}}})
}

var moment = time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC)

// After any sequence the log respects its bounds, and the pages are complete and in order.
func TestLog_Bounds(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := random{Rand: rand.New(rand.NewPCG(seed, 0)), log: NewLog()}
	for n := range 800 {
		r.put()
		if err := r.log.check(n%100 == 0); err != "" {
			t.Fatalf("seed %d, after %d entries: %s", seed, n+1, err)
		}
	}
	var paged []Change
	for before := uint64(0); ; {
		page, more := r.log.List(before, 1+r.IntN(20))
		paged = append(paged, page...)
		if !more {
			break
		}
		before = page[len(page)-1].Generation
	}
	all, more := r.log.List(0, maxChanges)
	if more || len(all) != maxChanges || !cmp.Equal(all, paged) {
		t.Errorf("seed %d: %d entries in pages, %d at once, more %v", seed, len(paged), len(all), more)
	}
}

// check returns what is wrong with the log, or "". It checks each entry if entries is set, which takes longer.
func (l *Log) check(entries bool) string {
	size := 0
	for i, e := range l.entries {
		size += sizeOf(e.Change) + len(e.diff)
		switch {
		case i > 0 && e.Generation <= l.entries[i-1].Generation:
			return "the entries are not in order"
		case entries && !cmp.Equal(bounded(e.Change), e.Change):
			return "an entry exceeds the bounds"
		case e.DiffDropped && e.diff != "":
			return "a diff is there and dropped"
		}
	}
	documents := 0
	for _, doc := range l.documents {
		documents += len(doc.Files[0].Content)
	}
	switch {
	case size != l.bytes:
		return fmt.Sprintf("the size is %d, not %d", size, l.bytes)
	case size > maxBytes:
		return fmt.Sprintf("the size is %d", size)
	case len(l.entries) > maxChanges:
		return fmt.Sprintf("there are %d entries", len(l.entries))
	case documents > maxDocumentBytes:
		return fmt.Sprintf("the documents have %d bytes", documents)
	}
	return ""
}

// The oldest diffs go first, then the long lists of the oldest entries.
func TestLog_DropsOldestDiffsFirst(t *testing.T) {
	l := NewLog()
	for n := range uint64(maxChanges) {
		l.Put(Change{Generation: n + 1, Outcome: OutcomeApplied, Details: []string{"a"}}, strings.Repeat("+", maxDiff))
	}
	first, _ := l.Get(1)
	last, _ := l.Get(maxChanges)
	if !first.DiffDropped || l.Diff(1) != "" || len(first.Details) != 1 || last.DiffDropped ||
		len(l.Diff(maxChanges)) != maxDiff {
		t.Errorf("the first is %+v, the last %+v", first, last)
	}
	if all, _ := l.List(0, maxChanges); len(all) != maxChanges {
		t.Errorf("%d entries are left", len(all))
	}
}

// A program that ends again and again does not displace the changes.
func TestLog_EventsDoNotDisplaceChanges(t *testing.T) {
	l := NewLog()
	for range 50 {
		l.Put(Change{Generation: l.Next(), Outcome: OutcomeApplied}, "")
	}
	for n := range 1000 {
		l.Put(Change{Generation: l.Next(), Outcome: OutcomeEvent, Reason: fmt.Sprint(n)}, "")
	}
	all, _ := l.List(0, maxChanges)
	if events := len(all) - 50; len(all) != maxChanges || all[len(all)-1].Generation != 1 || events != 150 ||
		all[0].Generation != 1050 {
		t.Errorf("%d events of %d entries", events, len(all))
	}
	for range 200 {
		l.Put(Change{Generation: l.Next(), Outcome: OutcomeApplied}, "")
	}
	all, _ = l.List(0, maxChanges)
	event := slices.IndexFunc(all, func(c Change) bool { return c.Outcome == OutcomeEvent })
	if event >= 0 && len(all)-event > maxEvents {
		t.Errorf("an event is left at %d", event)
	}
}

func TestLog_Marks(t *testing.T) {
	l := NewLog()
	put := func(c Change) {
		c.Generation = l.Next()
		l.Put(c, "")
	}
	want := func(change, reload, inEffect uint64) {
		t.Helper()
		for i, mark := range []*Change{l.LastChange(), l.LastReload(), l.InEffect()} {
			var got uint64
			if mark != nil {
				got = mark.Generation
			}
			if got != []uint64{change, reload, inEffect}[i] {
				t.Errorf("mark %d is %d", i, got)
			}
		}
	}
	want(0, 0, 0)
	put(Change{Digest: "a", Outcome: OutcomeApplied, Action: sdk.ActionRestart})
	want(1, 1, 1)
	put(Change{Digest: "b", Outcome: OutcomeDeferred})
	want(1, 1, 1)
	put(Change{Digest: "b", Outcome: OutcomeApplied, Action: sdk.ActionRuntime})
	want(3, 1, 3)
	put(Change{Digest: "b", Outcome: OutcomeApplied, Action: sdk.ActionReload})
	want(4, 4, 3)
	put(Change{Outcome: OutcomeEvent, Event: sdk.EventForeignReload})
	want(4, 5, 3)
	put(Change{Digest: "b", Outcome: OutcomeApplied, Action: sdk.ActionUnchanged})
	want(4, 5, 3)
	put(Change{Digest: "b", Outcome: OutcomeLost})
	want(4, 5, 0)
	for range 2 * maxChanges {
		put(Change{Digest: "c", Outcome: OutcomeRejected})
	}
	want(4, 5, 0)
}

func TestLog_Documents(t *testing.T) {
	l := NewLog()
	for n := range uint64(10) {
		l.Put(Change{Generation: n + 1, Document: n + 1, Outcome: OutcomeApplied}, "")
		l.PutDocument(sdk.Document{Generation: n + 1, Files: []sdk.File{{Content: make([]byte, 1<<20)}}})
	}
	l.Put(Change{Generation: 11, Document: 8, Outcome: OutcomeApplied}, "")
	for generation, want := range map[uint64]uint64{6: 0, 7: 7, 10: 10, 11: 8, 12: 0} {
		if doc, ok := l.DocumentOf(generation); ok != (want > 0) || doc.Generation != want {
			t.Errorf("document of %d is %d, %v", generation, doc.Generation, ok)
		}
	}
	l.PutDocument(sdk.Document{Generation: 12, Files: []sdk.File{{Content: make([]byte, 2*maxDocumentBytes)}}})
	if _, ok := l.DocumentOf(12); !ok || len(l.documents) != 1 {
		t.Error("the newest document is not kept alone")
	}
}

func TestShortened(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "…"}, {"abcde", 4, "a…"}, {"aäää", 6, "aä…"}, {"ääää", 6, "ä…"}} {
		if got := shortened(test.text, test.n); got != test.want {
			t.Errorf("%q to %d: %q, want %q", test.text, test.n, got, test.want)
		}
	}
}
