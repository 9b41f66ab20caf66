package engine

import "strings"

// Detail returns what err says, with every error in it that has a method Detail, such as one of a template, told by that
// instead: over several lines, for people, [Printable] and [Masked].
func Detail(err error) string {
	var told strings.Builder
	rest := err.Error()
	for _, e := range detailed(err) {
		if before, after, ok := strings.Cut(rest, e.Error()); ok {
			told.WriteString(before + e.Detail())
			rest = after
		}
	}
	return Printable(Masked(told.String() + rest))
}

type detailer interface {
	error
	Detail() string
}

// detailed returns the errors in err that have details, from the first to the last.
func detailed(err error) []detailer {
	if d, ok := err.(detailer); ok { //nolint:errorlint // the whole tree is looked through, one by one
		return []detailer{d}
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return detailed(inner)
		}
	case interface{ Unwrap() []error }:
		var all []detailer
		for _, inner := range e.Unwrap() {
			all = append(all, detailed(inner)...)
		}
		return all
	}
	return nil
}
