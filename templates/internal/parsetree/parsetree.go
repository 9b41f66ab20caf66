// Package parsetree walks and edits the parse trees of text/template.
//
// It knows the nodes of package parse only: what a template means, which functions it may call and why it is edited are
// its callers' concern. A tree must not be edited while another goroutine reads it.
package parsetree

import (
	"iter"
	"slices"
	"strconv"
	"text/template/parse"
)

// Nodes yields n and all nodes inside it, in the order of the source. The variables that a pipeline declares or assigns to are
// part of its PipeNode and not yielded by themselves.
func Nodes(n parse.Node) iter.Seq[parse.Node] {
	return func(yield func(parse.Node) bool) { walk(n, yield) }
}

func walk(n parse.Node, yield func(parse.Node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, child := range children(n) {
		if !walk(child, yield) {
			return false
		}
	}
	return true
}

func children(n parse.Node) []parse.Node {
	if b := Branch(n); b != nil {
		if b.ElseList == nil {
			return []parse.Node{b.Pipe, b.List}
		}
		return []parse.Node{b.Pipe, b.List, b.ElseList}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		return n.Nodes
	case *parse.ActionNode:
		return []parse.Node{n.Pipe}
	case *parse.TemplateNode:
		if n.Pipe != nil {
			return []parse.Node{n.Pipe}
		}
	case *parse.PipeNode:
		var commands []parse.Node
		for _, command := range n.Cmds {
			commands = append(commands, command)
		}
		return commands
	case *parse.CommandNode:
		return n.Args
	case *parse.ChainNode:
		return []parse.Node{n.Node}
	}
	return nil
}

// Lists returns root and every list inside it, a list after those that it contains. So a caller that inserts nodes into each
// list does not meet the nodes that it has inserted.
func Lists(root *parse.ListNode) []*parse.ListNode {
	var lists []*parse.ListNode
	for n := range Nodes(root) {
		if list, ok := n.(*parse.ListNode); ok {
			lists = append(lists, list)
		}
	}
	slices.Reverse(lists)
	return lists
}

// Branch returns what if, range and with have in common, and nil for other nodes.
func Branch(n parse.Node) *parse.BranchNode {
	switch n := n.(type) {
	case *parse.IfNode:
		return &n.BranchNode
	case *parse.RangeNode:
		return &n.BranchNode
	case *parse.WithNode:
		return &n.BranchNode
	}
	return nil
}

// A Loop is a range of a template with its context.
type Loop struct {
	*parse.RangeNode
	Scope     []string // the variables that are declared before it
	Nested    bool     // it is inside another range
	DotIsRoot bool     // the dot of its pipeline is the one that the template was executed with
}

// Loops returns the ranges of a template, inner ones before outer ones.
func Loops(root *parse.ListNode) []Loop { return appendLoops(nil, root, nil, false, true) }

func appendLoops(all []Loop, list *parse.ListNode, scope []string, nested, dotIsRoot bool) []Loop {
	if list == nil {
		return all
	}
	for _, n := range list.Nodes {
		if action, ok := n.(*parse.ActionNode); ok {
			scope = Declare(scope, action.Pipe)
			continue
		}
		b := Branch(n)
		if b == nil {
			continue
		}
		loop, isLoop := n.(*parse.RangeNode)
		inner := Declare(scope, b.Pipe)
		all = appendLoops(all, b.List, inner, nested || isLoop, dotIsRoot && b.NodeType == parse.NodeIf)
		all = appendLoops(all, b.ElseList, inner, nested, dotIsRoot)
		if isLoop {
			all = append(all, Loop{loop, scope, nested, dotIsRoot})
		}
	}
	return all
}

// Declare returns scope with the variables that pipe declares.
func Declare(scope []string, pipe *parse.PipeNode) []string {
	if pipe.IsAssign {
		return scope
	}
	scope = slices.Clip(scope)
	for _, v := range pipe.Decl {
		scope = append(scope, v.Ident[0])
	}
	return scope
}

// OuterVariables returns the variables of scope that the body of a range uses, and those of them that it assigns to: they may
// keep the value that they had. It reports false if the body cannot be executed in another way than as an iteration of its range:
// it can be left before its end, assigns to the root, or declares a variable of scope again, so that the outer one is not visible
// at its end.
func OuterVariables(body *parse.ListNode, scope []string) (used, assigned []string, ok bool) {
	for n := range Nodes(body) {
		switch n := n.(type) {
		case *parse.BreakNode, *parse.ContinueNode:
			return nil, nil, false
		case *parse.VariableNode:
			used = addIfDeclared(used, scope, n.Ident[0])
		case *parse.PipeNode:
			for _, v := range n.Decl {
				name := v.Ident[0]
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

// Action returns an action that calls the named function. Its errors point to pos in tree.
func Action(tree *parse.Tree, pos parse.Pos, function string, args ...parse.Node) *parse.ActionNode {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{Command(tree, pos, function, args...)},
	}}
}

// Command returns a call of the named function, as one command of a pipeline. Its errors point to pos in tree.
func Command(tree *parse.Tree, pos parse.Pos, function string, args ...parse.Node) *parse.CommandNode {
	words := append([]parse.Node{parse.NewIdentifier(function).SetPos(pos).SetTree(tree)}, args...)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: words}
}

// Number returns the constant n.
func Number(pos parse.Pos, n int) *parse.NumberNode {
	return &parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}

// Dot returns the dot.
func Dot(pos parse.Pos) *parse.DotNode { return &parse.DotNode{NodeType: parse.NodeDot, Pos: pos} }

// Variable returns the variable of that name, which begins with a dollar sign.
func Variable(pos parse.Pos, name string) *parse.VariableNode {
	return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: pos, Ident: []string{name}}
}

// Variables returns the variables of these names.
func Variables(pos parse.Pos, names []string) []parse.Node {
	var nodes []parse.Node
	for _, name := range names {
		nodes = append(nodes, Variable(pos, name))
	}
	return nodes
}

// Assignment returns an action that assigns the result of function for number to the variable, or declares the variable with it.
func Assignment(tree *parse.Tree, pos parse.Pos, name string, declare bool, function string, number int) *parse.ActionNode {
	action := Action(tree, pos, function, Number(pos, number))
	action.Pipe.IsAssign, action.Pipe.Decl = !declare, []*parse.VariableNode{Variable(pos, name)}
	return action
}

// List returns the nodes as a list.
func List(pos parse.Pos, nodes ...parse.Node) *parse.ListNode {
	return &parse.ListNode{NodeType: parse.NodeList, Pos: pos, Nodes: nodes}
}
