package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
	"github.com/haproxy-api/haproxy-api/templates"
)

// A templateFinder finds what differs in the templates of one pipeline.
type templateFinder struct {
	template templates.Config
	pipeline config.Pipeline
	file     string // the configuration file
	found    []Finding
}

func (t *templateFinder) find(ctx context.Context, all []states.State) error {
	if t.template.Path == "" {
		return nil // the built-in template
	}
	for _, path := range t.paths() {
		if content, err := os.ReadFile(path); err == nil { // Load reports the error
			t.findInText(path, string(content))
		}
	}
	template, err := templates.New(t.template).Load()
	if err != nil {
		t.addError(err, "")
		return nil
	}
	for _, state := range all {
		if err := t.findInDocument(ctx, template, state); err != nil {
			return err
		}
	}
	return nil
}

// paths returns the paths of the main template and of the partials.
func (t *templateFinder) paths() []string {
	paths := []string{t.template.Path}
	for _, pattern := range t.template.Partials {
		matches, _ := filepath.Glob(pattern) // Load reports the error
		paths = append(paths, matches...)
	}
	return paths
}

// addError adds an error of a template, with its position if it has one.
func (t *templateFinder) addError(err error, state string) {
	f := Finding{File: t.template.Path, Severity: Error, What: engine.OneLine(err.Error()), Change: "correct the template"}
	if positioned, ok := errors.AsType[*templates.Error](err); ok {
		f.File, f.Line, f.What = positioned.File, positioned.Line, engine.OneLine(positioned.Message)
	}
	if state != "" {
		f.What = "cannot be rendered with " + state + ": " + f.What
	}
	t.found = append(t.found, f)
}

// A changedFunction is a function that behaves differently from 0.9.
type changedFunction struct {
	call         *regexp.Regexp
	what, change string
}

var changedFunctions = []changedFunction{
	{
		regexp.MustCompile(`\b(?:portFor|ipFor)\b`),
		"portFor and ipFor fail the rendering if the instance has no such port, and the previous configuration stays; " +
			"0.9 wrote -1 into the configuration",
		"no change is needed for the ports of getPorts",
	},
	{
		regexp.MustCompile(`\bsanitizeName\b`),
		"sanitizeName writes capitals as small letters, and adds a hash to two names that would become one; " +
			"0.9 wrote - for a capital",
		"compare the names in 'haproxy-api diff' if other programs know them",
	},
}

// findInText finds what differs in the text of a template, also in branches that no state renders.
func (t *templateFinder) findInText(path, text string) {
	left, right := t.template.Delims[0], t.template.Delims[1]
	if left == "" || right == "" {
		left, right = "{{", "}}"
	}
	m := masker{left: left, right: right}
	masked := m.mask(text)
	for _, function := range changedFunctions {
		for _, action := range m.actions {
			if function.call.MatchString(action.text) {
				t.found = append(t.found, Finding{
					File: path, Line: action.line, Severity: Changed, What: function.what, Change: function.change,
				})
				break // one is enough
			}
		}
	}
	for _, removed := range haproxy.FindRemoved([]byte(masked)) {
		t.addRemoved(removed, path, removed.Line, removed.Other)
	}
}

func (t *templateFinder) addRemoved(removed haproxy.Removed, file string, line, other int) {
	what := unmask(removed.What)
	if other > 0 {
		what += fmt.Sprintf(" in line %d", other)
	}
	t.found = append(t.found, Finding{
		File: file, Line: line, Severity: Error, What: fmt.Sprintf("%s, which HAProxy %s and newer reject", what, removed.Since),
		Change: unmask(removed.Change), name: removed.Name,
	})
}

// findInDocument renders a state and finds what HAProxy rejects in the document. The places are those in the templates.
func (t *templateFinder) findInDocument(ctx context.Context, template *templates.Template, state states.State) error {
	if err := state.CheckSource(t.pipeline); err != nil {
		return nil //nolint:nilerr // a state of another pipeline's source
	}
	files, origins, err := template.SourceMap(ctx, state.As(t.pipeline.Source))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		t.addError(err, state.Name)
		return nil
	}
	originOf := func(line int) templates.Origin {
		if line < 1 || line > len(origins[0]) {
			return templates.Origin{}
		}
		return origins[0][line-1]
	}
	for _, removed := range haproxy.FindRemoved(bytes.TrimRight(files[0].Content, "\n")) {
		origin := originOf(removed.Line)
		t.addRemoved(removed, origin.Template, origin.Line, originOf(removed.Other).Line)
	}
	return nil
}

// A masker replaces the actions of a template's text by words, so that the text can be read as a configuration of HAProxy. Lines
// keep their numbers.
type masker struct {
	left, right string
	actions     []action
}

// An action is what is between delimiters, and its line.
type action struct {
	text string
	line int
}

// controlAction matches an action that writes nothing by itself.
var controlAction = regexp.MustCompile(
	`^(?:/\*|(?:if|else|end|range|with|define|block|break|continue)\b|\$\w*(?:\s*,\s*\$\w+)?\s*:?=)`)

func (m *masker) mask(text string) string {
	var out strings.Builder
	line := 1
	for {
		before, after, found := strings.Cut(text, m.left)
		out.WriteString(before)
		line += strings.Count(before, "\n")
		if !found {
			return out.String()
		}
		inner, rest, closed := strings.Cut(after, m.right)
		if !closed {
			return out.String()
		}
		m.actions = append(m.actions, action{inner, line})
		if controlAction.MatchString(strings.TrimLeft(inner, "- \t\n")) {
			out.WriteString(" " + strings.Repeat("\n", strings.Count(inner, "\n")))
		} else {
			out.WriteString(maskWord(m.left + inner + m.right))
		}
		line += strings.Count(inner, "\n")
		text = rest
	}
}

// maskedChars end a word or have a meaning in a configuration. In the text of an action they are replaced by characters of
// Unicode's private use area, from firstMask on.
const (
	maskedChars = " \t\r\n\"'\\#$"
	firstMask   = '\uE000'
)

func maskWord(text string) string {
	return strings.Map(func(r rune) rune {
		if i := strings.IndexRune(maskedChars, r); i >= 0 && r != '\n' {
			return firstMask + rune(i) //nolint:gosec // an index of maskedChars
		}
		return r
	}, text)
}

func unmask(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= firstMask && r < firstMask+rune(len(maskedChars)) {
			return rune(maskedChars[r-firstMask])
		}
		return r
	}, text)
}
