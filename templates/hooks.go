package templates

import (
	"iter"
	"strconv"
	"text/template"
	"text/template/parse"
)

// Functions that only we call, from nodes that we put into parsed templates. Their names are valid identifiers, so a
// template that uses one gets what it asks for.
const (
	hookDescend = "_descend" // at the start of a template that can come back to itself
	hookAscend  = "_ascend"  // at its end
	hookEnter   = "_enter"   // before a range
	hookAt      = "_at"      // at the start of each round, with the round's element
	hookLeave   = "_leave"   // after a range
	hookShown   = "_shown"   // around every value that is printed
	hookMark    = "_mark"    // before every node that writes, with its number
	hookAttempt = "_attempt" // instead of a range's body: see contain
	hookOuter   = "_outer"   // in such a body: a variable from outside, by its number
	hookDot     = "_dot"     // in such a body: the element, in a list of its own
	hookFinals  = "_finals"  // at the end of such a body, with the variables that it assigns to
)

// hook returns an action that calls the named function, with errors that point to pos in tree.
func hook(tree *parse.Tree, pos parse.Pos, name string, args ...parse.Node) *parse.ActionNode {
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{hookCommand(tree, pos, name, args...)},
	}}
}

func hookCommand(tree *parse.Tree, pos parse.Pos, name string, args ...parse.Node) *parse.CommandNode {
	words := append([]parse.Node{parse.NewIdentifier(name).SetPos(pos).SetTree(tree)}, args...)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: words}
}

func numberNode(pos parse.Pos, n int) *parse.NumberNode {
	return &parse.NumberNode{NodeType: parse.NodeNumber, Pos: pos, IsInt: true, Int64: int64(n), Text: strconv.Itoa(n)}
}

func variableNode(pos parse.Pos, name string) *parse.VariableNode {
	return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: pos, Ident: []string{name}}
}

func variableNodes(pos parse.Pos, names []string) []parse.Node {
	var nodes []parse.Node
	for _, name := range names {
		nodes = append(nodes, variableNode(pos, name))
	}
	return nodes
}

func listNode(pos parse.Pos, nodes ...parse.Node) *parse.ListNode {
	return &parse.ListNode{NodeType: parse.NodeList, Pos: pos, Nodes: nodes}
}

// countRounds has every round of a range write nothing, so that the writer can count it. That costs less than any call.
func countRounds(set *template.Template) {
	for _, t := range set.Templates() {
		for list := range lists(t.Root) {
			for _, n := range list.Nodes {
				if loop, ok := n.(*parse.RangeNode); ok {
					nothing := &parse.TextNode{NodeType: parse.NodeText, Pos: loop.Position()}
					loop.List.Nodes = append([]parse.Node{nothing}, loop.List.Nodes...)
				}
			}
		}
	}
}

// lists yields root and every list of nodes inside it.
func lists(root *parse.ListNode) iter.Seq[*parse.ListNode] {
	return func(yield func(*parse.ListNode) bool) { yieldLists(root, yield) }
}

func yieldLists(list *parse.ListNode, yield func(*parse.ListNode) bool) bool {
	if list == nil {
		return true
	}
	for _, n := range list.Nodes {
		if b := branch(n); b != nil && (!yieldLists(b.List, yield) || !yieldLists(b.ElseList, yield)) {
			return false
		}
	}
	return yield(list)
}

// branch returns what if, range and with have in common; nil for other nodes.
func branch(n parse.Node) *parse.BranchNode {
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

// traceAll puts the hooks of a traced set into place.
func traceAll(set *template.Template) {
	for _, t := range set.Templates() {
		for list := range lists(t.Root) {
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
				n.Pipe.Cmds = append(n.Pipe.Cmds, hookCommand(tree, n.Pipe.Cmds[0].Position(), hookShown))
			}
		case *parse.RangeNode:
			pos := n.Position()
			dot := &parse.DotNode{NodeType: parse.NodeDot, Pos: pos}
			n.List.Nodes = append([]parse.Node{hook(tree, pos, hookAt, dot)}, n.List.Nodes...)
			traced = append(traced, hook(tree, pos, hookEnter), n, hook(tree, pos, hookLeave))
			continue
		}
		traced = append(traced, n)
	}
	return traced
}
