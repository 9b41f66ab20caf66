package sourcemap

import (
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// The functions that instrumented templates call, all but FuncPrint for a [Recorder].
const (
	FuncEnter   = "_enter"   // before a range: [Recorder.EnterRange]
	FuncIterate = "_iterate" // at the start of each iteration, with its element: [Recorder.Iterate]
	FuncLeave   = "_leave"   // after a range: [Recorder.LeaveRange]
	FuncNode    = "_node"    // before every node that writes, with its number: [Recorder.Node]
	FuncPrint   = "_print"   // around every value that is printed; it returns the value or an error
)

// InstrumentRanges edits all templates of set so that a [Recorder] knows what their ranges are at, and so that errors about
// printed values have a position: text/template drops it from errors of the writer.
func InstrumentRanges(set *template.Template) {
	for _, t := range set.Templates() {
		for _, list := range parsetree.Lists(t.Root) {
			var nodes []parse.Node
			for _, n := range list.Nodes {
				nodes = append(nodes, instrumentNode(t.Tree, n)...)
			}
			list.Nodes = nodes
		}
	}
}

func instrumentNode(tree *parse.Tree, n parse.Node) []parse.Node {
	pos := n.Position()
	switch n := n.(type) {
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, parsetree.Command(tree, n.Pipe.Cmds[0].Position(), FuncPrint))
		}
	case *parse.RangeNode:
		iterate := parsetree.Action(tree, pos, FuncIterate, parsetree.Dot(pos))
		n.List.Nodes = append([]parse.Node{iterate}, n.List.Nodes...)
		return []parse.Node{parsetree.Action(tree, pos, FuncEnter), n, parsetree.Action(tree, pos, FuncLeave)}
	}
	return []parse.Node{n}
}

// A Source is one template file.
type Source struct{ Path, Text string }

// A Position is where in a template a node is that writes.
type Position struct {
	Path   string
	Line   int  // from 1
	isText bool // its lines are written as they are
}

// InstrumentNodes edits all templates of set so that a [Recorder] knows which node writes, and returns the positions of these
// nodes by number. sources are the template files by the names under which they were parsed.
func InstrumentNodes(set *template.Template, sources map[string]Source) []Position {
	var positions []Position
	for _, t := range set.Templates() {
		src := sources[t.ParseName]
		for _, list := range parsetree.Lists(t.Root) {
			var nodes []parse.Node
			for _, n := range list.Nodes {
				if p, ok := positionOf(src, n); ok {
					number := parsetree.Number(n.Position(), len(positions))
					nodes = append(nodes, parsetree.Action(t.Tree, n.Position(), FuncNode, number))
					positions = append(positions, p)
				}
				nodes = append(nodes, n)
			}
			list.Nodes = nodes
		}
	}
	return positions
}

// positionOf returns the position of n, and false for a node that writes nothing by itself.
func positionOf(src Source, n parse.Node) (Position, bool) {
	text, isText := n.(*parse.TextNode)
	isText = isText && len(text.Text) > 0
	_, isAction := n.(*parse.ActionNode)
	offset := min(int(n.Position()), len(src.Text))
	return Position{src.Path, 1 + strings.Count(src.Text[:offset], "\n"), isText}, isText || isAction
}
