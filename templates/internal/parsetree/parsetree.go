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

// List returns the nodes as a list.
func List(pos parse.Pos, nodes ...parse.Node) *parse.ListNode {
	return &parse.ListNode{NodeType: parse.NodeList, Pos: pos, Nodes: nodes}
}
