package templates

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"
)

// text/template tells places and causes only in the text of its errors, so this file reads that text, and nothing else
// does. Their forms, with the name that the file was parsed under:
//
//	template: NAME:LINE: MESSAGE                                        from Parse
//	template: NAME:LINE:OFFSET: executing "TEMPLATE" at <NODE>: MESSAGE  from Execute
//	template: NAME: MESSAGE                                             from Execute, before anything ran
//
// Where a text is not of these forms, all of it becomes the message: less help, but nothing lost. What is said about
// messages of certain forms is in advice.go.

// parseError returns what Parse had to say about src.
func parseError(cfg Config, src source, err error) *Error {
	line, message, ok := cutNumber(strings.TrimPrefix(err.Error(), "template: "+src.name+":"))
	if !ok {
		return &Error{File: src.path, Message: err.Error()}
	}
	e := at(src, line, mistakeColumn(cfg, src, line, err.Error()))
	e.Message = strings.TrimSpace(message)
	e.Hint = hint(e.Message, sceneOf(src, e, scene{}))
	if e.Message == "unexpected EOF" {
		e.Message = "the template ends where an {{ end }} is still missing"
		e.Hint = hintUnclosed(cfg, src)
	}
	return atStart(cfg, src, e)
}

// atStart moves an error about an action that is not closed to where that starts: Parse notices only in the next line.
func atStart(cfg Config, src source, e *Error) *Error {
	text, started, ok := strings.Cut(e.Message, " started at "+src.name+":")
	line, err := strconv.Atoi(started)
	if !ok || err != nil {
		return e
	}
	_, lineText := lineAt(src.text, line)
	before := max(strings.LastIndex(lineText, cmp.Or(cfg.Delims[0], "{{")), 0)
	moved := at(src, line, 1+utf8.RuneCountInString(lineText[:before]))
	moved.Message, moved.Hint = text, e.Hint
	return moved
}

// sceneOf adds to a scene where in src the error is.
func sceneOf(src source, e *Error, s scene) scene {
	start, rest := lineAt(src.text, e.Line)
	for range e.Column - 1 {
		_, size := utf8.DecodeRuneInString(rest)
		start, rest = start+size, rest[size:]
	}
	s.before, s.rest = src.text[:start], rest
	return s
}

// mistakeColumn returns the column of a mistake in a line, which Parse does not tell. The parser goes from left to
// right, so it is the end of the shortest beginning of the text for which Parse has the same complaint.
func mistakeColumn(cfg Config, src source, line int, complaint string) int {
	const widest = 500 // every character is one more parsing
	start, text := lineAt(src.text, line)
	if len(text) > widest {
		return 1
	}
	for end := range len(text) + 1 {
		if parses(cfg, src.name, src.text[:start+end]) == complaint {
			return 1 + utf8.RuneCountInString(text[:tokenStart(cfg, text[:end])])
		}
	}
	return 1
}

func parses(cfg Config, name, text string) string {
	if _, err := newSet(cfg).New(name).Parse(text); err != nil {
		return err.Error()
	}
	return ""
}

// tokenStart returns where the last token of text starts: an action, a word, or a single character.
func tokenStart(cfg Config, text string) int {
	left, right := cfg.Delims[0], cfg.Delims[1]
	if left == "" {
		left = "{{"
	}
	if right == "" {
		right = "}}"
	}
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

// locate returns what an execution had to say, with the place of the template in which it happened, however deep in
// includes that was.
func (t *Template) locate(v *view, err error, during string) *Error {
	place, found := errors.AsType[template.ExecError](err)
	for found {
		deeper, ok := errors.AsType[template.ExecError](errors.Unwrap(place.Err))
		if !ok {
			break
		}
		place = deeper
	}
	e, src := &Error{File: t.sources[0].path, Message: err.Error()}, t.sources[0]
	if found {
		e, src = t.parseExec(place)
	}
	s := sceneOf(src, e, scene{view: v, vars: t.cfg.Vars, templates: templateNames(t.set)})
	if own, ok := errors.AsType[*failure](err); ok {
		e.Message, e.Hint, e.Runaway = own.sentence, own.hint, own.runaway
		if own == errNoValue {
			e.Hint = cmp.Or(hintNothing(s), own.hint)
		}
	} else {
		e.Hint = hint(e.Message, s)
		if call, what, ok := strings.Cut(e.Message, ": reflect: "); ok && strings.HasSuffix(what, " on zero Value") {
			e.Message = call + ": what it is given does not exist"
		}
	}
	e.During = during
	return e
}

// parseExec takes the text of an ExecError apart, and returns the file that it is about.
func (t *Template) parseExec(err template.ExecError) (*Error, source) {
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
		e := at(src, line, 1+utf8.RuneCountInString(lineText[:min(offset, len(lineText))]))
		e.Message = execMessage(after, errors.Unwrap(err.Err))
		return e, src
	}
	return &Error{File: t.sources[0].path, Message: rest}, t.sources[0]
}

// execMessage drops `executing "TEMPLATE" at <NODE>: `. The cause, if any, is what the called function returned; it
// ends the text. Both it and NODE may contain what ends NODE.
func execMessage(text string, cause error) string {
	const nodeEnd = ">: "
	head := strings.TrimSpace(text)
	if cause == nil {
		if _, message, ok := strings.Cut(head, nodeEnd); ok {
			return message
		}
		return head
	}
	if called, ok := strings.CutSuffix(head, cause.Error()); ok {
		return called[strings.LastIndex(called, nodeEnd)+len(nodeEnd):] + cause.Error()
	}
	return head
}

// cutNumber cuts "N:" off the front of text. Where there is none it returns text as it is.
func cutNumber(text string) (int, string, bool) {
	digits, rest, found := strings.Cut(text, ":")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 0 {
		return 0, text, false
	}
	return n, rest, true
}

// at returns an error at that place of src.
func at(src source, line, column int) *Error {
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
