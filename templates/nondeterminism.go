package templates

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const hostByName = "getHostByName"

// clockFunctions depend on the time of the rendering.
var clockFunctions = []string{"now", "ago", "durationRound"}

func isRandom(function string) bool { return slices.Contains(randomFunctions, function) }

// isNondeterministic reports whether the function may return something else for the same arguments and the same snapshot.
func isNondeterministic(function string) bool {
	return function == hostByName || isRandom(function) || slices.Contains(clockFunctions, function)
}

// externalInputs are what the results of functions depend on in a rendering besides the snapshot.
type externalInputs struct {
	at          time.Time                           // what now returns
	lookup      func(host string) ([]string, error) // resolves a host name
	randomCalls map[string]int                      // how often each random function was called, by its key
	varied      string                              // the function whose result differs from the usual one, see renderVaried
}

// A NondeterministicLine is a line of a template whose output differs between renderings of one snapshot.
type NondeterministicLine struct {
	Template string // the template's path, as configured
	Line     int    // of the template, from 1
	Function string // the cause
}

// String returns what that means for the author of the template.
func (l NondeterministicLine) String() string {
	position := fmt.Sprintf("%s:%d", l.Template, l.Line)
	switch {
	case isRandom(l.Function):
		return fmt.Sprintf("%s: only this process keeps the result of %s: it differs after the next start and in every other "+
			"process", position, l.Function)
	case l.Function == hostByName:
		return fmt.Sprintf("%s: %s resolves the name only when the catalogue changes", position, l.Function)
	}
	return fmt.Sprintf("%s: the result of %s differs in every rendering, so every change of the catalogue reloads the proxy: "+
		"move it into a comment or remove it", position, l.Function)
}

// NondeterministicLines returns the lines of t whose output differs between renderings of snap, in the order of the template's
// functions and of the lines. Comments from # on do not count: a proxy is not reloaded for them. It renders once for each
// nondeterministic function that t calls, with only that one returning something else, and calls [Template.SourceMap] if there is
// a difference. For a template without such a function it returns at once.
func (t *Template) NondeterministicLines(ctx context.Context, snap sdk.Snapshot) ([]NondeterministicLine, error) {
	functions := slices.DeleteFunc(Functions(), func(f Function) bool { return !f.Nondeterministic || !t.calls(f.Name) })
	if len(functions) == 0 {
		return nil, nil
	}
	x, s, at := t.newExecution(t.set), newServices(snap, nil), t.cfg.Now()
	usual, err := x.renderVaried(ctx, s, at, "")
	if err != nil {
		return nil, err
	}
	var all []difference
	for _, f := range functions {
		varied, err := x.renderVaried(ctx, s, at, f.Name)
		if err != nil {
			return nil, err
		}
		for i := range usual {
			for _, line := range differingLines(usual[i].Content, varied[i].Content) {
				all = append(all, difference{i, line, f.Name})
			}
		}
	}
	return t.locateDifferences(ctx, snap, all)
}

// A difference is a line of the document that another result of a function changes.
type difference struct {
	file, line int // from 0
	function   string
}

// locateDifferences returns the lines of the template that wrote these lines of the document, each function and line once.
func (t *Template) locateDifferences(ctx context.Context, snap sdk.Snapshot, all []difference) ([]NondeterministicLine, error) {
	if len(all) == 0 {
		return nil, nil
	}
	_, origins, err := t.SourceMap(ctx, snap)
	if err != nil {
		return nil, err
	}
	var lines []NondeterministicLine
	for _, d := range all {
		file := origins[d.file]
		if d.line >= len(file) || file[d.line].Template == "" {
			continue
		}
		line := NondeterministicLine{file[d.line].Template, file[d.line].Line, d.function}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// renderVaried renders at that time, with the named function returning something else than usual.
func (x *execution) renderVaried(ctx context.Context, s *services, at time.Time, function string) ([]sdk.File, error) {
	defer x.begin(ctx, s)()
	x.at, x.varied = at.UTC().Round(0), function
	return x.files()
}

// differingLines returns the lines of text, from 0, that differ from the other text, between the common beginning and the common
// end of both. If only the other text has lines there, it is the line before which they are.
func differingLines(text, other []byte) []int {
	a, b := visibleLines(text), visibleLines(other)
	begin := 0
	for begin < min(len(a), len(b)) && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < min(len(a), len(b))-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	var lines []int
	for i := begin; i < len(a)-end; i++ {
		if len(a) != len(b) || a[i] != b[i] {
			lines = append(lines, i)
		}
	}
	if lines == nil && len(a) != len(b) {
		lines = []int{min(begin, len(a)-1)}
	}
	return lines
}

// visibleLines returns the lines without comments as HAProxy and most other programs have them.
func visibleLines(text []byte) []string {
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			lines[i] = ""
		} else if at := strings.IndexAny(line, "#"); at > 0 && strings.ContainsAny(line[at-1:at], " \t") {
			lines[i] = strings.TrimRight(line[:at], " \t")
		}
	}
	return lines
}

// clock returns the time of the rendering for the named function.
func (x *execution) clock(name string) time.Time {
	if x.varied == name {
		// Every part of the time is another one.
		return x.at.AddDate(1, 1, 1).Add(time.Hour + time.Minute + time.Second + time.Millisecond)
	}
	return x.at
}

// ago is the function of sprig, with the time of the rendering.
func (x *execution) ago(v any) string {
	now := x.clock("ago")
	then := now
	switch v := v.(type) {
	case time.Time:
		then = v
	case int64:
		then = time.Unix(v, 0)
	case int:
		then = time.Unix(int64(v), 0)
	}
	return now.Sub(then).Round(time.Second).String()
}

// sinceThen returns the argument for durationRound: the duration since v at the time of the rendering if v is a time, else v.
func (x *execution) sinceThen(v any) any {
	if then, ok := v.(time.Time); ok {
		return int64(x.clock("durationRound").Sub(then))
	}
	return v
}

// hostByName returns the least of the host's addresses. sprig's function returns any of them and panics if there is none.
func (x *execution) hostByName(host string) (string, error) {
	addresses, err := x.lookup(host)
	if err != nil || len(addresses) == 0 {
		return "", failf("the host name %q has no address: %v", host, err)
	}
	least := slices.Min(addresses)
	if x.varied == hostByName {
		return "varied." + least, nil
	}
	return least, nil
}
