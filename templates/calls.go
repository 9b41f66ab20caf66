package templates

import (
	"text/template"
	"text/template/parse"
)

// callsIn returns the names of the functions that templates of the set call, and of the fields and methods, with a dot.
func callsIn(set *template.Template) map[string]bool {
	calls := map[string]bool{}
	for _, t := range set.Templates() {
		for list := range lists(t.Root) {
			for _, n := range list.Nodes {
				addCalls(calls, n)
			}
		}
	}
	return calls
}

// addCalls adds the calls in n, but for those in lists of nodes inside it.
func addCalls(calls map[string]bool, n parse.Node) {
	if b := branch(n); b != nil {
		addCalls(calls, b.Pipe)
		return
	}
	switch n := n.(type) {
	case *parse.ActionNode:
		addCalls(calls, n.Pipe)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			addCalls(calls, n.Pipe)
		}
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			addCalls(calls, command)
		}
	case *parse.CommandNode:
		for _, word := range n.Args {
			addCalls(calls, word)
		}
	case *parse.ChainNode:
		addCalls(calls, n.Node)
		addFields(calls, n.Field)
	case *parse.FieldNode:
		addFields(calls, n.Ident)
	case *parse.VariableNode:
		addFields(calls, n.Ident[1:])
	case *parse.IdentifierNode:
		calls[n.Ident] = true
	}
}

func addFields(calls map[string]bool, names []string) {
	for _, name := range names {
		calls["."+name] = true
	}
}
