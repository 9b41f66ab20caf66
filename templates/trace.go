package templates

import (
	"context"
	"slices"
	"strconv"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// A trace knows which elements the ranges of a running template are at, from the outermost in, and in a run for that purpose
// where the lines that it writes come from.
type trace struct {
	elements []any

	marks    []mark     // nil where lines are of no interest
	marked   int        // the node that writes
	lines    []line     // of what is being written
	included []line     // of what was included since the mark
	ended    [][]Origin // by file
}

func (t *trace) enter() string {
	t.elements = append(t.elements, nil)
	return ""
}

func (t *trace) at(element any) { t.elements[len(t.elements)-1] = element }

func (t *trace) leave() string {
	t.elements = t.elements[:len(t.elements)-1]
	return ""
}

// innermost names the service or instance that the template was at, "" where it was at none.
func (t *trace) innermost() string {
	if t == nil {
		return ""
	}
	for _, element := range slices.Backward(t.elements) {
		if name := elementName(element); name != "" {
			return name
		}
	}
	return ""
}

func elementName(element any) string {
	switch e := element.(type) {
	case sdk.Instance:
		return describe(e)
	case []sdk.Instance:
		if len(e) > 0 {
			return "service " + strconv.Quote(e[0].Name)
		}
	}
	return ""
}

// explain finds out where a rendering of v went wrong and with what. It renders again, with a set that keeps track of
// that; doing so always would cost every rendering.
func (t *Template) explain(ctx context.Context, v *view, failure error) *Error {
	traced, err := compile(t.cfg, t.sources, true)
	if err != nil || ctx.Err() != nil { // it compiled before
		return t.locate(v, failure, "")
	}
	r, end := t.newRun(ctx, v, traced)
	defer end()
	r.trace = &trace{}
	if _, err := r.files(); err != nil {
		located := t.locate(v, err, r.trace.innermost())
		located.Service, located.Instance = r.trace.owner()
		return located
	}
	// A template with the time in it may fail only sometimes.
	return t.locate(v, failure, "")
}

const (
	hookEnter = "_enter" // before a range
	hookAt    = "_at"    // at the start of each iteration, with its element
	hookLeave = "_leave" // after a range
	hookShown = "_shown" // around every value that is printed
	hookMark  = "_mark"  // before every node that writes, with its number
)

// traceAll puts the hooks of a traced set into place.
func traceAll(set *template.Template) {
	for _, t := range set.Templates() {
		for _, list := range parsetree.Lists(t.Root) {
			list.Nodes = traceNodes(t.Tree, list.Nodes)
		}
	}
}

func traceNodes(tree *parse.Tree, nodes []parse.Node) []parse.Node {
	var traced []parse.Node
	for _, n := range nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, parsetree.Command(tree, n.Pipe.Cmds[0].Position(), hookShown))
			}
		case *parse.RangeNode:
			pos := n.Position()
			at := parsetree.Action(tree, pos, hookAt, parsetree.Dot(pos))
			n.List.Nodes = append([]parse.Node{at}, n.List.Nodes...)
			traced = append(traced, parsetree.Action(tree, pos, hookEnter), n, parsetree.Action(tree, pos, hookLeave))
			continue
		}
		traced = append(traced, n)
	}
	return traced
}
