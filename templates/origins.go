package templates

import (
	"bytes"
	"context"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// An Origin is where a line of a document comes from.
//
// Its place is that of the last node of a template that wrote something visible of the line. What an include returns keeps
// its own places, as long as nobody adds or removes lines on the way.
//
// Its owner is whom the line is about, by the ranges that the templates were at: the instance, where one instance's range
// wrote a part of it; the service, where only its own or several of its instances' did; nobody, where several services did.
type Origin struct {
	Template string        // the template's path, as configured; empty for a line on which nothing is visible
	Line     int           // of the template, from 1
	Service  string        // empty for none
	Instance *sdk.Instance // of that service; nil for none
}

// A TracedFile is a rendered file with the origin of each line, also of the empty one after the last line's end.
type TracedFile struct {
	sdk.File
	Origins []Origin
}

// Trace renders like Render and tells where every line comes from. That costs several times as much.
func (t *Template) Trace(ctx context.Context, snap sdk.Snapshot) ([]TracedFile, error) {
	traced, err := compile(t.cfg, t.sources, true)
	if err != nil { // it compiled before
		return nil, err
	}
	v := newView(snap, nil)
	r, end := t.newRun(ctx, v, traced)
	defer end()
	r.trace = &trace{marks: markAll(traced, t.sources)}
	files, err := r.files()
	if err != nil {
		return nil, t.explain(ctx, v, err)
	}
	var all []TracedFile
	for i, f := range files {
		all = append(all, TracedFile{f, r.trace.ended[i]})
	}
	return all, nil
}

// A mark is the place of a node that writes.
type mark struct {
	path string
	line int
	text bool // its lines are those of the template
}

// markAll has every node that writes say so first, and returns the places that they tell by number.
func markAll(set *template.Template, sources []source) []mark {
	texts := map[string]source{}
	for _, src := range sources {
		texts[src.name] = src
	}
	var marks []mark
	for _, t := range set.Templates() {
		src := texts[t.ParseName]
		for _, list := range parsetree.Lists(t.Root) {
			var nodes []parse.Node
			for _, n := range list.Nodes {
				if m, ok := markOf(src, n); ok {
					nodes = append(nodes, parsetree.Action(t.Tree, n.Position(), hookMark, parsetree.Number(n.Position(), len(marks))))
					marks = append(marks, m)
				}
				nodes = append(nodes, n)
			}
			list.Nodes = nodes
		}
	}
	return marks
}

func markOf(src source, n parse.Node) (mark, bool) {
	text := false
	if n, ok := n.(*parse.TextNode); ok {
		text = len(n.Text) > 0
	}
	_, action := n.(*parse.ActionNode)
	pos := min(int(n.Position()), len(src.text))
	return mark{src.path, 1 + strings.Count(src.text[:pos], "\n"), text}, text || action
}

// A line is what is known so far of a line that is being written.
type line struct {
	Origin
	services, instances bool // there are several
}

// add says that o wrote something visible.
func (l *line) add(o Origin) {
	l.Template, l.Line = o.Template, o.Line
	switch {
	case o.Service == "" || l.services:
	case l.Service == "":
		l.Service, l.Instance = o.Service, o.Instance
	case l.Service != o.Service:
		l.services, l.Service, l.Instance = true, "", nil
	case o.Instance == nil || l.instances:
	case l.Instance == nil:
		l.Instance = o.Instance
	case l.Instance.Hostname != o.Instance.Hostname || l.Instance.ID != o.Instance.ID:
		l.instances, l.Instance = true, nil
	}
}

// wrote notes the lines of p, which the marked node has written.
func (t *trace) wrote(p []byte) {
	if t == nil || t.marks == nil {
		return
	}
	segments := bytes.Split(p, []byte("\n"))
	for i, segment := range segments {
		if i > 0 || len(t.lines) == 0 {
			t.lines = append(t.lines, line{})
		}
		if len(bytes.TrimSpace(segment)) > 0 {
			t.lines[len(t.lines)-1].add(t.origin(i, len(segments)))
		}
	}
}

// origin returns that of one of the lines that the marked node writes.
func (t *trace) origin(number, of int) Origin {
	m := t.marks[t.marked]
	if !m.text && len(t.included) == of && t.included[number].Template != "" {
		return t.included[number].Origin
	}
	o := Origin{Template: m.path, Line: m.line}
	if m.text {
		o.Line += number
	}
	o.Service, o.Instance = t.owner()
	return o
}

// owner returns whom the innermost range that is at somebody is at.
func (t *trace) owner() (string, *sdk.Instance) {
	for i := len(t.elements) - 1; i >= 0; i-- {
		switch e := t.elements[i].(type) {
		case sdk.Instance:
			return e.Name, &e
		case []sdk.Instance:
			if len(e) > 0 {
				return e[0].Name, nil
			}
		}
	}
	return "", nil
}

// mark says which node writes next.
func (t *trace) mark(number int) string {
	t.marked, t.included = number, nil
	return ""
}

// include notes the lines of what is rendered into a string from here to the call of the function that it returns. The node
// that includes it is likely to write just that.
func (t *trace) include() (end func()) {
	if t == nil {
		return func() {}
	}
	lines, marked := t.lines, t.marked
	t.lines = nil
	return func() { t.included, t.lines, t.marked = t.lines, lines, marked }
}

// endLine notes that the last line was ended by nobody's node.
func (t *trace) endLine() {
	if t != nil && t.marks != nil {
		t.lines = append(t.lines, line{})
	}
}

// endFile puts the lines away: those of another file follow.
func (t *trace) endFile() {
	if t == nil {
		return
	}
	var origins []Origin
	for _, l := range t.lines {
		origins = append(origins, l.Origin)
	}
	t.ended, t.lines = append(t.ended, origins), nil
}
