package templates

import (
	"fmt"
	"strings"
)

// An Error is a mistake in a template, or in what a template makes of the data.
type Error struct {
	File    string // the template's path, as configured
	Line    int    // from 1; 0 where it is not known
	Column  int    // in characters, from 1; 0 where it is not known
	Snippet string // the line
	Message string // one sentence without the place
	During  string // the service or instance that the template was at, if any
}

// Error returns FILE:LINE:COLUMN: MESSAGE, with what the template was at in brackets.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": " + e.Message)
	if e.During != "" && !strings.Contains(e.Message, e.During) {
		b.WriteString(" (at " + e.During + ")")
	}
	return b.String()
}

// A failure is an error of one of our functions: a sentence for the person who wrote the template.
type failure struct{ sentence string }

func (f *failure) Error() string { return f.sentence }

func failf(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...)}
}

var _ error = (*Error)(nil)
