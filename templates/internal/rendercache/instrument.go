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
// root, the dot, and the variables that BODY uses. It reports whether BODY has to be executed; _end receives the variables that
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
			in.list(t.Root, nil, true)
		}
	}
}

type instrumenter struct {
	tree               *parse.Tree
	isDeterministic    func(function string) bool
	setIsDeterministic bool // no template of the set calls another function
	ranges             int
}

// list instruments the ranges of a list. scope are the variables that are declared before it; dotIsRoot says whether the dot is
// the one that the template was executed with.
func (in *instrumenter) list(list *parse.ListNode, scope []string, dotIsRoot bool) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			scope = declare(scope, n.Pipe)
		case *parse.IfNode:
			in.list(n.List, declare(scope, n.Pipe), dotIsRoot)
			in.list(n.ElseList, declare(scope, n.Pipe), dotIsRoot)
		case *parse.WithNode:
			in.list(n.List, declare(scope, n.Pipe), false)
			in.list(n.ElseList, declare(scope, n.Pipe), dotIsRoot)
		case *parse.RangeNode:
			if isOverServices(n.Pipe, dotIsRoot) {
				in.loop(n, scope)
			}
			in.list(n.ElseList, declare(scope, n.Pipe), dotIsRoot)
		}
	}
}

// declare returns scope with the variables that pipe declares.
func declare(scope []string, pipe *parse.PipeNode) []string {
	if pipe.IsAssign {
		return scope
	}
	scope = slices.Clip(scope)
	for _, v := range pipe.Decl {
		scope = append(scope, v.Ident[0])
	}
	return scope
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

// loop instruments one range, if what its body depends on is known.
func (in *instrumenter) loop(loop *parse.RangeNode, scope []string) {
	used, assigned, ok := in.variables(loop.List, scope)
	if !ok {
		return
	}
	pos := loop.Position()
	args := []parse.Node{parsetree.Number(pos, in.ranges), parsetree.Variable(pos, "$"), parsetree.Dot(pos)}
	begin := parsetree.Action(in.tree, pos, FuncBegin, append(args, variableNodes(pos, used)...)...)
	end := parsetree.Action(in.tree, pos, FuncEnd, variableNodes(pos, assigned)...)
	replay := parsetree.List(pos)
	for i, name := range assigned {
		action := parsetree.Action(in.tree, pos, FuncAssigned, parsetree.Number(pos, i))
		action.Pipe.IsAssign, action.Pipe.Decl = true, []*parse.VariableNode{parsetree.Variable(pos, name)}
		replay.Nodes = append(replay.Nodes, action)
	}
	loop.List = parsetree.List(pos, &parse.IfNode{BranchNode: parse.BranchNode{
		NodeType: parse.NodeIf, Pos: pos, Pipe: begin.Pipe,
		List: parsetree.List(pos, append(loop.List.Nodes, end)...), ElseList: replay,
	}})
	in.ranges++
}

func variableNodes(pos parse.Pos, names []string) []parse.Node {
	var nodes []parse.Node
	for _, name := range names {
		nodes = append(nodes, parsetree.Variable(pos, name))
	}
	return nodes
}

// variables returns the variables of scope that body uses, and those of them that it assigns to, since they may keep the value
// that they had. It reports false if body can depend on something else, or can be left before its end.
func (in *instrumenter) variables(body *parse.ListNode, scope []string) (used, assigned []string, ok bool) {
	for n := range parsetree.Nodes(body) {
		switch n := n.(type) {
		case *parse.BreakNode, *parse.ContinueNode:
			return nil, nil, false
		case *parse.TemplateNode:
			if !in.setIsDeterministic {
				return nil, nil, false
			}
		case *parse.IdentifierNode:
			if !in.isDeterministic(n.Ident) || n.Ident == "include" && !in.setIsDeterministic {
				return nil, nil, false
			}
		case *parse.VariableNode:
			if n.Ident[0] == "$" && (len(n.Ident) == 1 || n.Ident[1] == "Services") {
				return nil, nil, false
			}
			used = addIfDeclared(used, scope, n.Ident[0])
		case *parse.PipeNode:
			for _, v := range n.Decl {
				name := v.Ident[0]
				// At the end of the body, only the inner one of two variables of one name is visible.
				if name == "$" || !n.IsAssign && slices.Contains(scope, name) {
					return nil, nil, false
				}
				used = addIfDeclared(used, scope, name)
				assigned = addIfDeclared(assigned, scope, name)
			}
		}
	}
	return used, assigned, true
}

// addIfDeclared returns names with name, unless it is there or not in scope.
func addIfDeclared(names, scope []string, name string) []string {
	if slices.Contains(names, name) || !slices.Contains(scope, name) {
		return names
	}
	return append(names, name)
}
