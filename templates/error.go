package templates

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/width"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Error is a mistake in a template, or a failure of a template with the data of a snapshot.
type Error struct {
	File    string // the template's path, as configured
	Line    int    // from 1; 0 if it is not known
	Column  int    // in characters, from 1; 0 if it is not known
	Snippet string // the line
	Message string // one sentence without the position
	During  string // the service or instance that the template was at, if any
	Hint    string // what to do about it, if it is known
	Runaway bool   // the template exceeded a bound, see [Template.Render]

	// Service and Instance are what the failing iteration of a range rendered: excluding them may help. Service is empty if it
	// rendered neither, and Instance is nil if it rendered a service as a whole.
	Service  string
	Instance *sdk.Instance

	// Further are the failures of other iterations in the same document, in the order of the document. Each has a Service.
	Further []*Error
}

// Error returns FILE:LINE:COLUMN: MESSAGE, with what the template was at in brackets, and the hint.
func (e *Error) Error() string {
	text := e.headline()
	if e.showsDuring() {
		text += " (at " + e.During + ")"
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Position returns where the mistake is. The line and the column are 0 if they are not known.
func (e *Error) Position() (file string, line, column int) { return e.File, e.Line, e.Column }

// Detail returns the same over several lines, with the line of the template and a caret under the position. It does not end with
// a newline.
func (e *Error) Detail() string {
	lines := []string{e.headline()}
	margin := fmt.Sprintf("%5d | ", e.Line)
	blank := strings.Repeat(" ", len(margin)-2)
	if e.Line > 0 {
		shown, caret := e.excerpt()
		lines = append(lines, strings.TrimRight(margin+shown, " "))
		if e.Column > 0 {
			lines = append(lines, blank+"| "+caret)
		}
	}
	if e.showsDuring() {
		lines = append(lines, blank+"= at "+e.During)
	}
	if e.Hint != "" {
		lines = append(lines, blank+"= "+e.Hint)
	}
	return strings.Join(lines, "\n")
}

// Endless reports whether the template exceeded a bound: rendering again takes long and fails in the same way.
func (e *Error) Endless() bool { return e.Runaway }

// Owner returns [Error.Service] and [Error.Instance].
func (e *Error) Owner() (service string, instance *sdk.Instance) { return e.Service, e.Instance }

// Failures returns e without [Error.Further], and those.
func (e *Error) Failures() []error {
	first := *e
	first.Further = nil
	all := []error{&first}
	for _, other := range e.Further {
		all = append(all, other)
	}
	return all
}

func (e *Error) headline() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": " + e.Message)
	return b.String()
}

// showsDuring reports whether During adds something to the message.
func (e *Error) showsDuring() bool { return e.During != "" && !strings.Contains(e.Message, e.During) }

// excerpt returns the part of the line around the position, and the line with the caret that goes under it.
func (e *Error) excerpt() (shown, caret string) {
	const before, most = 80, 110 // characters
	line := []rune(e.Snippet)
	at := min(max(e.Column-1, 0), len(line))
	from := max(at-before, 0)
	to := min(from+most, len(line))
	var text, pad strings.Builder
	if from > 0 {
		text.WriteString("…")
		pad.WriteString(" ")
	}
	for i := from; i < to; i++ {
		r := line[i]
		if unicode.IsControl(r) && r != '\t' {
			r = ' '
		}
		text.WriteRune(r)
		if i < at {
			pad.WriteString(blankFor(r))
		}
	}
	if to < len(line) {
		text.WriteString("…")
	}
	return text.String(), pad.String() + "^"
}

// blankFor returns white space as wide as r. For a tab it is a tab, whose width depends on where it is.
func blankFor(r rune) string {
	switch kind := width.LookupRune(r).Kind(); {
	case r == '\t':
		return "\t"
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return ""
	case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
		return "  "
	}
	return " "
}

// A failure is an error of one of our functions: a sentence for the author of the template.
type failure struct {
	sentence string
	hint     string
	runaway  bool
}

func (f *failure) Error() string { return f.sentence }

func failf(format string, args ...any) *failure {
	return &failure{sentence: fmt.Sprintf(format, args...)}
}

// runawayf returns the failure of a template that exceeds a bound.
func runawayf(format string, args ...any) *failure {
	f := failf(format, args...)
	f.runaway = true
	return f
}

var _ error = (*Error)(nil)
