package templates

import (
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/templates/internal/hints"
)

// text/template reports positions and causes only in the text of its errors, so this file reads that text, and nothing else does.
// The forms are, with the name that the file was parsed under:
//
//	template: NAME:LINE: MESSAGE                                        from Parse
//	template: NAME:LINE:OFFSET: executing "TEMPLATE" at <NODE>: MESSAGE  from Execute
//	template: NAME: MESSAGE                                             from Execute, before anything was executed
//
// A text of another form becomes the message as a whole, without a position. Package hints suggests what to
// do about a message.

// parseError returns an Error for err, which is from parsing src.
func parseError(cfg Config, src source, err error) *Error {
	line, message, ok := cutNumber(strings.TrimPrefix(err.Error(), "template: "+src.name+":"))
	if !ok {
		return &Error{File: src.path, Message: err.Error()}
	}
	e := errorAt(src, line, parseErrorColumn(cfg, src, line, err.Error()))
	e.Message = strings.TrimSpace(message)
	e.Hint = hints.ForMessage(e.Message, hintContext(src, e))
	if e.Message == "unexpected EOF" {
		e.Message = "the template ends where an {{ end }} is still missing"
		left, right := delims(cfg)
		e.Hint = hints.ForUnclosed(src.name, src.text, left+"end"+right, func(text string) (*template.Template, error) {
			return newSet(cfg).New(src.name).Parse(text)
		})
	}
	return moveToStart(cfg, src, e)
}

// moveToStart moves an error about an action that is not closed to the start of the action: Parse reports it in the line after.
func moveToStart(cfg Config, src source, e *Error) *Error {
	text, started, ok := strings.Cut(e.Message, " started at "+src.name+":")
	line, err := strconv.Atoi(started)
	if !ok || err != nil {
		return e
	}
	_, lineText := lineAt(src.text, line)
	left, _ := delims(cfg)
	before := max(strings.LastIndex(lineText, left), 0)
	moved := errorAt(src, line, 1+utf8.RuneCountInString(lineText[:before]))
	moved.Message, moved.Hint = text, e.Hint
	return moved
}

// parseErrorColumn returns the column of a parse error, which Parse does not report. The parser reads from left to right, so the
// error is at the end of the shortest prefix of the text for which Parse returns the same error.
func parseErrorColumn(cfg Config, src source, line int, parseErr string) int {
	const maxColumns = 500 // each is one more parsing
	start, text := lineAt(src.text, line)
	if len(text) > maxColumns {
		return 1
	}
	for end := range len(text) + 1 {
		if _, err := newSet(cfg).New(src.name).Parse(src.text[:start+end]); err != nil && err.Error() == parseErr {
			return 1 + utf8.RuneCountInString(text[:lastToken(cfg, text[:end])])
		}
	}
	return 1
}

// lastToken returns where the last token of text starts: an action, a word, or a single character.
func lastToken(cfg Config, text string) int {
	left, right := delims(cfg)
	if strings.HasSuffix(text, right) {
		return max(strings.LastIndex(text, left), 0)
	}
	if strings.HasSuffix(text, left) {
		return len(text) - len(left)
	}
	word := strings.TrimRightFunc(text, func(r rune) bool {
		return r == '_' || r == '$' || r == '.' || r >= utf8.RuneSelf || cleanName(string(r)) != "-"
	})
	if len(word) < len(text) {
		return len(word)
	}
	return max(len(text)-1, 0)
}

func delims(cfg Config) (left, right string) {
	return cmp.Or(cfg.Delims[0], "{{"), cmp.Or(cfg.Delims[1], "}}")
}

// renderError returns an Error for err, which is from rendering s. Its position is the innermost one, however deep in includes
// that is. during names the service or instance that the template was at.
func (t *Template) renderError(s *services, err error, during string) *Error {
	e, src := &Error{File: t.sources[0].path, Message: err.Error()}, t.sources[0]
	if innermost, ok := innermostExecError(err); ok {
		e, src = t.parseExecError(innermost)
	}
	e.During = during
	c := hintContext(src, e)
	c.Services, c.Vars, c.Templates = slices.AppendSeq([]string{}, maps.Keys(s.usable)), t.cfg.Vars, templateNames(t.set)
	if own, ok := errors.AsType[*failure](err); ok {
		e.Message, e.Hint, e.Runaway = own.sentence, own.hint, own.runaway
		if own == errNoValue {
			e.Hint = cmp.Or(hints.ForMissingValue(c), own.hint)
		}
		return e
	}
	e.Hint = hints.ForMessage(e.Message, c)
	if call, what, ok := strings.Cut(e.Message, ": reflect: "); ok && strings.HasSuffix(what, " on zero Value") {
		e.Message = call + ": the argument does not exist"
	}
	return e
}

func innermostExecError(err error) (innermost template.ExecError, ok bool) {
	for {
		inner, found := errors.AsType[template.ExecError](err)
		if !found {
			return innermost, ok
		}
		innermost, ok, err = inner, true, errors.Unwrap(inner.Err)
	}
}

// parseExecError reads the text of err, and returns the file that it is about.
func (t *Template) parseExecError(err template.ExecError) (*Error, source) {
	rest := strings.TrimPrefix(err.Error(), "template: ")
	for _, src := range t.sources {
		after, ok := strings.CutPrefix(rest, src.name+":")
		if !ok {
			continue
		}
		line, after, ok := cutNumber(after)
		if !ok {
			return &Error{File: src.path, Message: strings.TrimSpace(after)}, src
		}
		offset, after, ok := cutNumber(after)
		if !ok {
			continue
		}
		_, lineText := lineAt(src.text, line)
		e := errorAt(src, line, 1+utf8.RuneCountInString(lineText[:min(offset, len(lineText))]))
		e.Message = execMessage(after, errors.Unwrap(err.Err))
		return e, src
	}
	return &Error{File: t.sources[0].path, Message: rest}, t.sources[0]
}

// execMessage removes `executing "TEMPLATE" at <NODE>: `. cause is the error of the called function, if any; its text is the end
// of the message. Both it and NODE may contain what ends NODE.
func execMessage(text string, cause error) string {
	const nodeEnd = ">: "
	text = strings.TrimSpace(text)
	if cause == nil {
		if _, message, ok := strings.Cut(text, nodeEnd); ok {
			return message
		}
		return text
	}
	if called, ok := strings.CutSuffix(text, cause.Error()); ok {
		return called[strings.LastIndex(called, nodeEnd)+len(nodeEnd):] + cause.Error()
	}
	return text
}

// hintContext returns what is known of the position of e in src.
func hintContext(src source, e *Error) hints.Context {
	start, rest := lineAt(src.text, e.Line)
	for range e.Column - 1 {
		_, size := utf8.DecodeRuneInString(rest)
		start, rest = start+size, rest[size:]
	}
	return hints.Context{Before: src.text[:start], Rest: rest, Functions: usages(), Root: reflect.TypeFor[root]()}
}

func templateNames(set *template.Template) []string {
	var names []string
	for _, t := range set.Templates() {
		names = append(names, t.Name())
	}
	return names
}

// cutNumber cuts "N:" off the front of text. If there is none it returns text as it is.
func cutNumber(text string) (int, string, bool) {
	digits, rest, found := strings.Cut(text, ":")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 0 {
		return 0, text, false
	}
	return n, rest, true
}

// errorAt returns an error at that position of src.
func errorAt(src source, line, column int) *Error {
	_, text := lineAt(src.text, line)
	return &Error{File: src.path, Line: line, Column: column, Snippet: strings.TrimRight(text, "\r")}
}

// lineAt returns where the line starts in text, and the line without its end. Lines count from 1.
func lineAt(text string, line int) (int, string) {
	start := 0
	for range line - 1 {
		i := strings.IndexByte(text[start:], '\n')
		if i < 0 {
			return len(text), ""
		}
		start += i + 1
	}
	found, _, _ := strings.Cut(text[start:], "\n")
	return start, found
}
