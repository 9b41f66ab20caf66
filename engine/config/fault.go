package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/agnivade/levenshtein"
)

// A Fault is one thing that is wrong with the configuration.
type Fault struct {
	Origin  string // the file (with line and column if it cannot be read), "environment NAME" or "flag --NAME"
	Key     string // which key it is about, as TOML writes it; "" when it is about all of Origin
	Problem string // what is wrong with it and what would be right, without a full stop
}

// Error returns the fault as one line, whatever characters somebody has put into a name.
func (f Fault) Error() string {
	subject := f.Key
	if subject != "" {
		subject += " "
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, f.Origin+": "+subject+f.Problem)
}

// Faults are all the things that are wrong, in the order of their places: file, environment, flags.
type Faults []Fault

// Error returns one line a fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// A collector takes the faults that kinds find while they read one tree.
type collector struct {
	origin func(path) string
	known  []path // every key that has a fixed place
	faults Faults
}

func (c *collector) wrong(at path, problem string) {
	c.faults = append(c.faults, Fault{Origin: c.origin(at), Key: at.String(), Problem: problem})
}

func (c *collector) mismatch(at path, want string, got any) {
	c.wrong(at, fmt.Sprintf("must be %s, not %s", want, shown(at, got)))
}

// unknown reports a key that is none of those that its table has.
func (c *collector) unknown(at path, siblings []string) {
	name, table := at[len(at)-1], at[:len(at)-1]
	best := nearest(name, siblings)
	hint := "; the nearest known one is " + table.with(best).String()
	if resembles(name, best) {
		hint = "; did you mean " + table.with(best).String() + "?"
	} else if elsewhere := c.namesake(name); elsewhere != nil {
		hint = "; did you mean " + elsewhere.String() + "?"
	}
	c.wrong(at, "is not a known key"+hint)
}

// namesake finds a key of that name in another table.
func (c *collector) namesake(name string) path {
	i := slices.IndexFunc(c.known, func(p path) bool { return fold(p[len(p)-1]) == fold(name) })
	if i < 0 {
		return nil
	}
	return c.known[i]
}

// nearest returns the candidate that name was most likely meant to be, or "" if there are none.
func nearest(name string, candidates []string) string {
	if len(candidates) == 0 {
		return ""
	}
	return slices.MinFunc(slices.Sorted(slices.Values(candidates)), func(a, b string) int {
		return cmp.Compare(strangeness(name, a), strangeness(name, b))
	})
}

// resembles reports whether name can be a slip of the fingers for what was meant.
func resembles(name, meant string) bool {
	return meant != "" && strangeness(name, meant) <= max(1, len(name)/3)
}

// strangeness is the distance of two names, where the beginning of a word is not far from the whole of it.
func strangeness(name, meant string) int {
	if len(name) > 2 && strings.HasPrefix(fold(meant), fold(name)) {
		return 1
	}
	return distance(name, meant)
}

func distance(a, b string) int { return levenshtein.ComputeDistance(fold(a), fold(b)) }

// fold brings the spellings of a name together that differ only where an environment variable cannot tell them apart.
func fold(name string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(name))
}
