package engine

import (
	"errors"
	"strings"
)

// Detail returns a human-readable text of err. Every wrapped error with a method Detail() string, such as that of a template, is
// replaced by its details, which may have several lines. The text is [Printable] and [Masked].
func Detail(err error) string {
	var text strings.Builder
	rest := err.Error()
	for _, e := range detailed(err) {
		if before, after, ok := strings.Cut(rest, e.Error()); ok {
			text.WriteString(before + e.Detail())
			rest = after
		}
	}
	return Printable(Masked(text.String() + rest))
}

type detailer interface {
	error
	Detail() string
}

// detailed returns the errors in the tree of err that have details, in order.
func detailed(err error) []detailer {
	if d, ok := err.(detailer); ok { //nolint:errorlint // the function walks the tree itself
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

// A Position is where in a template an error is.
type Position struct {
	File         string
	Line, Column int // from 1; 0 if it is not known
}

// PositionOf returns the position of the first wrapped error that has a method Position, such as that of a template, and false
// if there is none.
func PositionOf(err error) (Position, bool) {
	e, ok := errors.AsType[interface {
		error
		Position() (file string, line, column int)
	}](err)
	if !ok {
		return Position{}, false
	}
	file, line, column := e.Position()
	return Position{file, line, column}, true
}
