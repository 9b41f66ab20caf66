package templates

import (
	"slices"
	"text/template"
	"text/template/parse"
)

// A catalogue's change is a change of a few services, and what a template writes for the others is what it wrote before. So the
// rounds of its outermost ranges are kept: with what went into them and what they wrote. In the tree, a range
//
//	{{ range $name, $list := .Services }} BODY {{ end }}
//
// becomes
//
//	{{ range $name, $list := .Services }}{{ if _stale 0 $ . $name $list }} BODY {{ _keep }}{{ end }}{{ end }}
//
// and where BODY assigns to a variable from outside, it ends with {{ _keep $it }}{{ else }}{{ $it = _kept 0 }}. That is done only
// where all that BODY can depend on is known: the arguments of _stale, what functions say of services, which a memo notes, and
// what never changes. All other ranges stay as they are.

const (
	hookStale = "_stale" // whether a round has to be done, with the range's number, the root, the dot and the variables
	hookKeep  = "_keep"  // at its end, with the variables that it assigns to
	hookKept  = "_kept"  // instead of it: what such a variable was, by its number
)

// mutators are the functions that change what they are given, even .Vars, and the methods, even of a snapshot's times.
var mutators = []string{
	"set", "unset", "merge", "mergeOverwrite", "mustMerge", "mustMergeOverwrite",
	".UnmarshalText", ".UnmarshalJSON", ".UnmarshalBinary", ".GobDecode", ".Scan",
}

// dates are the functions of sprig's that look at the clock where they are not given a time.
var dates = []string{"date", "dateInZone", "date_in_zone", "htmlDate", "htmlDateInZone"}

// settled are the fields of the root that are the same in each run, or for which a memo looks.
var settled = []string{"Vars", "User", "Group", "Cluster", "Source"}

// isOpen reports whether the function may return what does not follow from its arguments and from what a memo notes.
func isOpen(function string) bool {
	return isVolatile(function) || function == "source" || function == "call" ||
		slices.Contains(mutators, function) || slices.Contains(dates, function)
}

// keepRounds prepares the outermost ranges of the named templates of a set that makes these calls. It reports false where nothing
// may be kept from one run to the next.
func keepRounds(set *template.Template, calls map[string]bool, names []string) bool {
	if slices.ContainsFunc(mutators, func(name string) bool { return calls[name] }) {
		return false
	}
	k := &roundKeeper{}
	for name := range calls {
		k.openSet = k.openSet || isOpen(name)
	}
	for _, name := range names {
		if t := set.Lookup(name); t != nil && t.Tree != nil {
			k.tree = t.Tree
			k.list(t.Root, nil)
		}
	}
	return true
}

type roundKeeper struct {
	tree    *parse.Tree
	openSet bool // some template of the set calls an open function
	ranges  int  // so many have been prepared
}

// list prepares the ranges of a list in which the variables of scope are declared.
func (k *roundKeeper) list(list *parse.ListNode, scope []string) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		if action, ok := n.(*parse.ActionNode); ok {
			scope = declared(action.Pipe, scope)
			continue
		}
		b := branch(n)
		if b == nil {
			continue
		}
		inner := declared(b.Pipe, scope)
		if loop, ok := n.(*parse.RangeNode); !ok || !k.wrap(loop, inner) {
			k.list(b.List, inner)
		}
		k.list(b.ElseList, inner)
	}
}

// declared returns scope with what pipe declares.
func declared(pipe *parse.PipeNode, scope []string) []string {
	if pipe.IsAssign {
		return scope
	}
	scope = slices.Clip(scope)
	for _, v := range pipe.Decl {
		scope = append(scope, v.Ident[0])
	}
	return scope
}

// wrap prepares one range, if it may.
func (k *roundKeeper) wrap(loop *parse.RangeNode, scope []string) bool {
	body := &body{scope: scope}
	body.list(loop.List)
	if body.open || body.calling && k.openSet {
		return false
	}
	pos := loop.Position()
	args := []parse.Node{numberNode(pos, k.ranges), variableNode(pos, "$"), &parse.DotNode{NodeType: parse.NodeDot, Pos: pos}}
	stale := hook(k.tree, pos, hookStale, append(args, variableNodes(pos, body.used)...)...)
	keep := hook(k.tree, pos, hookKeep, variableNodes(pos, body.assigned)...)
	loop.List = listNode(pos, &parse.IfNode{BranchNode: parse.BranchNode{
		NodeType: parse.NodeIf, Pos: pos, Pipe: stale.Pipe,
		List: listNode(pos, append(loop.List.Nodes, keep)...), ElseList: k.instead(pos, body.assigned),
	}})
	k.ranges++
	return true
}

// instead assigns to the variables what they were at the end of the round, which is not done.
func (k *roundKeeper) instead(pos parse.Pos, assigned []string) *parse.ListNode {
	list := listNode(pos)
	for i, name := range assigned {
		kept := hook(k.tree, pos, hookKept, numberNode(pos, i))
		kept.Pipe.IsAssign, kept.Pipe.Decl = true, []*parse.VariableNode{variableNode(pos, name)}
		list.Nodes = append(list.Nodes, kept)
	}
	return list
}

// A body is what is known of a range's inside.
type body struct {
	scope    []string // the variables from outside
	used     []string // of these
	assigned []string // of these
	calling  bool     // it uses other templates
	open     bool     // it can depend on something else, or do something else than write and assign
	bound    bool     // it cannot be rendered anywhere else: it leaves the range, or has two variables of one name
}

func (b *body) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		b.node(n)
	}
}

func (b *body) node(n parse.Node) {
	if branch := branch(n); branch != nil {
		b.pipe(branch.Pipe)
		b.list(branch.List)
		b.list(branch.ElseList)
		return
	}
	switch n := n.(type) {
	case *parse.TextNode, *parse.CommentNode:
	case *parse.ActionNode:
		b.pipe(n.Pipe)
	case *parse.TemplateNode:
		b.calling = true
		if n.Pipe != nil {
			b.pipe(n.Pipe)
		}
	default: // break and continue would leave it before its end
		b.open, b.bound = true, true
	}
}

func (b *body) pipe(pipe *parse.PipeNode) {
	for _, v := range pipe.Decl {
		name := v.Ident[0]
		outside := slices.Contains(b.scope, name)
		switch {
		case name == "$":
			b.open, b.bound = true, true
		case !pipe.IsAssign && outside: // there are two of that name, and only the inner one would be seen at the end
			b.open, b.bound = true, true
		case pipe.IsAssign && outside:
			b.assigned = added(b.assigned, name)
			b.used = added(b.used, name) // it may come out as it went in
		}
	}
	for _, command := range pipe.Cmds {
		for _, word := range command.Args {
			b.word(word)
		}
	}
}

func (b *body) word(word parse.Node) {
	switch word := word.(type) {
	case *parse.VariableNode:
		b.variable(word.Ident)
	case *parse.IdentifierNode:
		b.calling = b.calling || word.Ident == "include"
		b.open = b.open || isOpen(word.Ident)
	case *parse.PipeNode:
		b.pipe(word)
	case *parse.ChainNode:
		b.word(word.Node)
	}
}

func (b *body) variable(ident []string) {
	switch {
	case ident[0] == "$":
		b.open = b.open || len(ident) < 2 || !slices.Contains(settled, ident[1])
	case slices.Contains(b.scope, ident[0]):
		b.used = added(b.used, ident[0])
	}
}

func added(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
