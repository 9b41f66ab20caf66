package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
)

// A Fault is one error in the configuration.
type Fault struct {
	Origin  string // the file (with line and column if it cannot be parsed), "environment NAME" or "flag --NAME"
	Key     string // the key as TOML writes it, or "" if the fault concerns all of Origin
	Problem string // what is wrong and what would be right, without a full stop
}

// Error returns the fault as one line. Control characters in names are replaced.
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

// Faults are all errors in a configuration. Those in single values come first, in the order file, environment, flags.
type Faults []Fault

// Error returns one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// A collector collects the faults that kinds find in one layer.
type collector struct {
	origin func(path) string
	known  []path // every key with a fixed path
	faults Faults
}

func (c *collector) add(at path, problem string) {
	c.faults = append(c.faults, Fault{Origin: c.origin(at), Key: at.String(), Problem: problem})
}

func (c *collector) mismatch(at path, want string, got any) {
	c.add(at, fmt.Sprintf("must be %s, not %s", want, quoteValue(at, got)))
}

// table returns v as a table. It reports any other value.
func (c *collector) table(at path, v any, want string) (map[string]any, bool) {
	content, ok := v.(map[string]any)
	if !ok {
		c.mismatch(at, want, v)
	}
	return content, ok
}

// unknown reports a key that its table does not have.
func (c *collector) unknown(at path, siblings []string) {
	name, parent := at[len(at)-1], at[:len(at)-1]
	best, similar := suggest.Nearest(name, siblings)
	hint := "; the nearest known one is " + parent.with(best).String()
	if similar {
		hint = "; did you mean " + parent.with(best).String() + "?"
	} else if i := slices.IndexFunc(c.known, func(p path) bool { return fold(p[len(p)-1]) == fold(name) }); i >= 0 {
		hint = "; did you mean " + c.known[i].String() + "?" // in another table
	}
	c.add(at, "is not a known key"+hint)
}

// fold returns name without the differences that an environment variable cannot express.
func fold(name string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(name))
}
