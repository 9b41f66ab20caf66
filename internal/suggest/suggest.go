// Package suggest finds the name that was probably meant by an unknown name. It does not know what the names are for.
package suggest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest returns the candidate that is most similar to name, and whether it is similar enough that name is probably a
// misspelling of it. It returns "" if there are no candidates. Case, and the difference between -, . and _, do not count. The
// result does not depend on the order of candidates.
func Nearest(name string, candidates []string) (nearest string, similar bool) {
	if len(candidates) == 0 {
		return "", false
	}
	nearest = slices.MinFunc(slices.Sorted(slices.Values(candidates)), func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(name, a), distance(name, b)), cmp.Compare(edits(name, a), edits(name, b)))
	})
	return nearest, distance(name, nearest) <= max(1, len(name)/3)
}

var separators = strings.NewReplacer("-", "_", ".", "_")

func fold(name string) string { return separators.Replace(strings.ToLower(name)) }

// edits returns the edit distance of two names.
func edits(a, b string) int { return levenshtein.ComputeDistance(fold(a), fold(b)) }

// distance returns the edit distance of two names, but at most 1 if name is the beginning of candidate, has its letters in
// another order, or is within that distance of its first words.
func distance(name, candidate string) int {
	name, candidate = fold(name), fold(candidate)
	all := levenshtein.ComputeDistance(name, candidate)
	begins := len(name) > 2 && strings.HasPrefix(candidate, name)
	if all <= 1 || begins || sorted(name) == sorted(candidate) {
		return min(1, all)
	}
	if end := strings.LastIndexByte(candidate, '_'); len(name) > 2 && end > 0 && distance(name, candidate[:end]) == 1 {
		return 1
	}
	return all
}

func sorted(text string) string { return string(slices.Sorted(slices.Values([]byte(text)))) }
