package syntax

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Parsing with another configuration gives the same result as parsing alone.
func TestParse_IncrementalEqualsWhole(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter("# top\n\nglobal\n maxconn 10\n.if defined(A)\n nbthread 1\n.endif\n"+
		"defaults d\n mode http\n", "\n")
	for i := range 6 {
		lines = append(lines, fmt.Sprintf("frontend f%d\n", i), " bind :80\n", fmt.Sprintf("backend f%d from d\n", i),
			" server a 1.1.1.1:1\n", "# a comment\n", fmt.Sprintf("  \"backend\" f%d\n", i), "\n")
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		text, like := slices.Clone(lines), (*Config)(nil)
		for range 200 {
			for range random.IntN(4) {
				at, from := random.IntN(len(text)+1), random.IntN(len(lines))
				switch more := lines[from:min(from+random.IntN(9), len(lines))]; random.IntN(3) {
				case 0:
					text = slices.Insert(text, at, more...)
				case 1:
					text = slices.Delete(text, at, min(at+random.IntN(9), len(text)))
				default:
					text = slices.Insert(text, at, " option x")
				}
			}
			text = text[:min(len(text), 200)]
			content := []byte(strings.TrimSuffix(strings.Join(text, ""), strings.Repeat("\n", random.IntN(2))))
			got, want := Parse(content, like), Parse(content, nil)
			if got.top != want.top || !slices.EqualFunc(got.sections, want.sections, sameEntry) {
				t.Fatalf("seed %d: %q is read as\n%s\nand by itself as\n%s", seed, content, got, want)
			}
			like = got
		}
	}
}

func sameEntry(a, b *entry) bool {
	return a.raw == b.raw && a.condition == b.condition && a.repeats == b.repeats && (a.defaults == nil) == (b.defaults == nil) &&
		(a.defaults == nil || a.defaults.raw == b.defaults.raw)
}

func (c *Config) String() string {
	all := []string{fmt.Sprintf("%q", c.top)}
	for _, e := range c.sections {
		all = append(all, fmt.Sprintf("%q", e.raw))
	}
	return strings.Join(all, "\n")
}
