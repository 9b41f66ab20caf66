package rendercache

import (
	"slices"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// The functions that instrumented templates call. See [Instrument].
const (
	FuncBegin    = "_begin"
	FuncEnd      = "_end"
	FuncAssigned = "_assigned"
)

// Instrument edits the named templates of set so that iterations of their ranges over .Services can be cached. A range
//
//	{{ range $name, $instances := .Services }} BODY {{ end }}
//
// becomes
//
//	{{ range $name, $instances := .Services }}
//		{{- if _begin 0 $ . $x }} BODY {{ _end $x }}{{ else }}{{ $x = _assigned 0 }}{{ end -}}
//	{{ end }}
//
// where $x is a variable from outside that BODY uses and assigns to. The arguments of _begin are the number of the range, the
// root, the dot, and the variables that BODY uses. It reports whether BODY must be executed; _end receives the variables that
// BODY assigns to, and _assigned returns their values where BODY is not executed.
//
// A range is instrumented if it is not inside another range and BODY depends on nothing but these arguments, the other fields of
// the root, and the results of deterministic functions. isDeterministic says which functions these are. All other ranges stay
// as they are and are executed as a whole.
func Instrument(set *template.Template, names []string, isDeterministic func(function string) bool) {
	in := &instrumenter{isDeterministic: isDeterministic, setIsDeterministic: true}
	for _, t := range set.Templates() {
		for n := range parsetree.Nodes(t.Root) {
			if function, ok := n.(*parse.IdentifierNode); ok && !isDeterministic(function.Ident) {
				in.setIsDeterministic = false
			}
		}
	}
	for _, name := range names {
		if t := set.Lookup(name); t != nil && t.Tree != nil {
			in.tree = t.Tree
			for _, loop := range parsetree.Loops(t.Root) {
				in.loop(loop)
			}
		}
	}
}

type instrumenter struct {
	tree               *parse.Tree
	isDeterministic    func(function string) bool
	setIsDeterministic bool // no template of the set calls another function
	ranges             int
}

// isOverServices reports whether pipe is .Services of the root and nothing else.
func isOverServices(pipe *parse.PipeNode, dotIsRoot bool) bool {
	if pipe.IsAssign || len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return false
	}
	switch n := pipe.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		return dotIsRoot && slices.Equal(n.Ident, []string{"Services"})
	case *parse.VariableNode:
		return slices.Equal(n.Ident, []string{"$", "Services"})
	}
	return false
}

// loop instruments a range over .Services if what its body depends on is known.
func (in *instrumenter) loop(loop parsetree.Loop) {
	if loop.Nested || !isOverServices(loop.Pipe, loop.DotIsRoot) {
		return
	}
	used, assigned, ok := parsetree.OuterVariables(loop.List, loop.Scope)
	if !ok || !in.isKnown(loop.List) {
		return
	}
	pos := loop.Position()
	args := []parse.Node{parsetree.Number(pos, in.ranges), parsetree.Variable(pos, "$"), parsetree.Dot(pos)}
	begin := parsetree.Action(in.tree, pos, FuncBegin, append(args, parsetree.Variables(pos, used)...)...)
	end := parsetree.Action(in.tree, pos, FuncEnd, parsetree.Variables(pos, assigned)...)
	replay := parsetree.List(pos)
	for i, name := range assigned {
		replay.Nodes = append(replay.Nodes, parsetree.Assignment(in.tree, pos, name, false, FuncAssigned, i))
	}
	loop.List = parsetree.List(pos, &parse.IfNode{BranchNode: parse.BranchNode{
		NodeType: parse.NodeIf, Pos: pos, Pipe: begin.Pipe,
		List: parsetree.List(pos, append(loop.List.Nodes, end)...), ElseList: replay,
	}})
	in.ranges++
}

// isKnown reports whether body depends only on its variables, its dot, and fields of the root other than .Services.
func (in *instrumenter) isKnown(body *parse.ListNode) bool {
	for n := range parsetree.Nodes(body) {
		switch n := n.(type) {
		case *parse.TemplateNode:
			if !in.setIsDeterministic {
				return false
			}
		case *parse.IdentifierNode:
			if !in.isDeterministic(n.Ident) || n.Ident == "include" && !in.setIsDeterministic {
				return false
			}
		case *parse.VariableNode:
			if n.Ident[0] == "$" && (len(n.Ident) == 1 || n.Ident[1] == "Services") {
				return false
			}
		}
	}
	return true
}
