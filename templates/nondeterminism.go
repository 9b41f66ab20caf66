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

// clocks are the functions that look at the time of the rendering.
var clocks = []string{"now", "ago", "durationRound"}

func isRandom(function string) bool { return slices.Contains(randomFunctions, function) }

// isNondeterministic reports whether the function may return something else for the same arguments and the same snapshot.
func isNondeterministic(function string) bool {
	return function == hostByName || isRandom(function) || slices.Contains(clocks, function)
}

// A Varying is a line of a template that writes something else each time, though the snapshot is the same.
type Varying struct {
	Template string // the template's path, as configured
	Line     int    // of the template, from 1
	Function string // for which it does
}

// String says what that means for the person who wrote the template.
func (v Varying) String() string {
	place := fmt.Sprintf("%s:%d", v.Template, v.Line)
	switch {
	case isRandom(v.Function):
		return fmt.Sprintf("%s: %s writes something here that only this process keeps: the next start of it, and every other "+
			"process, has another value", place, v.Function)
	case v.Function == hostByName:
		return fmt.Sprintf("%s: what %s writes here is as old as the last change of the catalogue", place, v.Function)
	}
	return fmt.Sprintf("%s: %s writes something else here each time, so that every change of the catalogue has to reload the "+
		"proxy: move it into a comment, or do without", place, v.Function)
}

// Vary returns where t writes something else each time, though the snapshot is the same, in the order of the template's
// functions and of the lines. Comments from # on do not count: nobody reloads a proxy for them. It renders for each function
// that could be the cause, with only that one returning something else; a template without such a function costs nothing.
func (t *Template) Vary(ctx context.Context, snap sdk.Snapshot) ([]Varying, error) {
	var suspects []string
	for _, f := range described() {
		if f.Volatile && t.calls(f.Name) {
			suspects = append(suspects, f.Name)
		}
	}
	if len(suspects) == 0 {
		return nil, nil
	}
	clock := t.cfg.Now()
	x, v := t.newExecution(t.set), newView(snap, nil)
	usual, err := x.renderVaried(ctx, v, clock, "")
	if err != nil {
		return nil, err
	}
	var all []Varying
	var origins []TracedFile
	for _, function := range suspects {
		varied, err := x.renderVaried(ctx, v, clock, function)
		if err != nil {
			return nil, err
		}
		for i := range usual {
			for _, line := range differing(usual[i].Content, varied[i].Content) {
				if origins == nil {
					if origins, err = t.Trace(ctx, snap); err != nil {
						return nil, err
					}
				}
				all = addVarying(all, origins[i].Origins, line, function)
			}
		}
	}
	return all, nil
}

// addVarying adds the origin of the line, unless all has it or nobody knows it.
func addVarying(all []Varying, origins []Origin, line int, function string) []Varying {
	if line >= len(origins) || origins[line].Template == "" {
		return all
	}
	v := Varying{origins[line].Template, origins[line].Line, function}
	if slices.Contains(all, v) {
		return all
	}
	return append(all, v)
}

// renderVaried renders at that time, with the named function returning something else than usual.
func (x *execution) renderVaried(ctx context.Context, v *view, at time.Time, function string) ([]sdk.File, error) {
	defer x.begin(ctx, v)()
	x.at, x.varied = at.UTC().Round(0), function
	return x.files()
}

// differing returns the lines of text, from 0, that are not in the other: between what both begin and what both end with. Where
// only the other has more lines, it is the line before which they come.
func differing(text, other []byte) []int {
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

// visibleLines returns the lines without what is a comment in HAProxy's files, and in most others.
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
		// Later in every respect that a template may look at.
		return x.at.AddDate(1, 1, 1).Add(time.Hour + time.Minute + time.Second + time.Millisecond)
	}
	return x.at
}

// ago is sprig's, by the clock of the rendering.
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

// sinceThen returns what durationRound is to be given: where v is a time, what has passed since by the clock of the rendering.
func (x *execution) sinceThen(v any) any {
	if then, ok := v.(time.Time); ok {
		return int64(x.clock("durationRound").Sub(then))
	}
	return v
}

// hostByName returns the least of the host's addresses, where sprig's takes any and panics where there is none.
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
