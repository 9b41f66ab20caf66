package templates

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// text/template stops at the first failure. To find all iterations that fail in one run, contain turns a range
//
//	{{ range $name, $list := .Services }} BODY {{ end }}
//
// into
//
//	{{ range $name, $list := .Services }}{{ _attempt 0 1 $ . $it $name $list }}{{ $it = _kept 0 }}{{ end }}
//
// where $it is the one variable from outside that BODY assigns to, and BODY is a template of its own:
//
//	{{ $it := _outer 0 }}{{ $name := _outer 1 }}{{ $list := _outer 2 }}{{ range _dot }} BODY {{ end }}{{ _finals $it }}
//
// An attempt at an instance or a service that fails writes nothing and assigns nothing, as if that one were not there, and the
// run goes on.

// contain prepares the ranges of a traced set, but those whose bodies depend on where they are.
func contain(set *template.Template) {
	c := &container{set: set}
	for _, t := range set.Templates() {
		c.tree = t.Tree
		c.list(t.Root, nil)
	}
}

type container struct {
	set    *template.Template
	tree   *parse.Tree
	bodies int
}

// list prepares the ranges of a list in which the variables of scope are declared, from the innermost out.
func (c *container) list(list *parse.ListNode, scope []string) {
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
		c.list(b.List, inner)
		c.list(b.ElseList, inner)
		if loop, ok := n.(*parse.RangeNode); ok {
			c.wrap(loop, inner)
		}
	}
}

func (c *container) wrap(loop *parse.RangeNode, scope []string) {
	body := &body{scope: scope}
	body.list(loop.List)
	if body.bound {
		return
	}
	pos := loop.Position()
	variables := slices.Clone(body.assigned)
	for _, name := range body.used {
		variables = added(variables, name)
	}
	args := []parse.Node{
		numberNode(pos, c.bodies), numberNode(pos, len(body.assigned)), variableNode(pos, "$"),
		&parse.DotNode{NodeType: parse.NodeDot, Pos: pos},
	}
	attempt := hook(c.tree, pos, hookAttempt, append(args, variableNodes(pos, variables)...)...)
	c.define(pos, variables, len(body.assigned), loop.List)
	loop.List = listNode(pos, attempt)
	for i, name := range body.assigned {
		loop.List.Nodes = append(loop.List.Nodes, c.assignment(pos, name, true, hookKept, i))
	}
}

// define makes content a template of its own.
func (c *container) define(pos parse.Pos, variables []string, assigned int, content *parse.ListNode) {
	root := listNode(pos)
	for i, name := range variables {
		root.Nodes = append(root.Nodes, c.assignment(pos, name, false, hookOuter, i))
	}
	root.Nodes = append(root.Nodes,
		&parse.RangeNode{BranchNode: parse.BranchNode{
			NodeType: parse.NodeRange, Pos: pos, Pipe: hook(c.tree, pos, hookDot).Pipe, List: content,
		}},
		hook(c.tree, pos, hookFinals, variableNodes(pos, variables[:assigned])...))
	tree := c.tree.Copy() // for the text, to which places refer
	tree.Name, tree.Root = bodyName(c.bodies), root
	template.Must(c.set.AddParseTree(tree.Name, tree))
	c.bodies++
}

// assignment returns {{ $NAME = _FUNCTION NUMBER }}, or one with := for a declaration.
func (c *container) assignment(pos parse.Pos, name string, assign bool, function string, number int) parse.Node {
	action := hook(c.tree, pos, function, numberNode(pos, number))
	action.Pipe.IsAssign, action.Pipe.Decl = assign, []*parse.VariableNode{variableNode(pos, name)}
	return action
}

func bodyName(number int) string { return fmt.Sprintf("_body %d", number) }

// An attempt renders one iteration.
type attempt struct {
	dot       any
	variables []any
	finals    []any // what those are at the end to which the body assigns
}

// attempt renders the body with that number. It fails only where that is not about one instance or service alone.
func (r *run) attempt(number, assigned int, top, dot any, variables ...any) (string, error) {
	a := &attempt{dot: dot, variables: variables, finals: variables[:assigned]}
	attempts, elements, depth, includes := r.attempts, len(r.trace.elements), r.depth, r.includes
	r.attempts = append(r.attempts, a)
	var out strings.Builder
	err := r.set.ExecuteTemplate(&writer{run: r, to: &out}, bodyName(number), top)
	if err != nil && (elementName(dot) == "" || r.isOver(err)) {
		return "", err
	}
	if err != nil {
		r.failed(err)
		r.trace.elements, r.depth, r.includes = r.trace.elements[:elements], depth, includes
		a.finals = variables[:assigned]
		out.Reset()
	}
	r.attempts, r.kept = attempts, a.finals
	return out.String(), nil
}

// isOver reports whether the run ends with err, whatever it is about.
func (r *run) isOver(err error) bool {
	own, ok := errors.AsType[*failure](err)
	return ok && own.runaway || r.exceeded() != nil
}

func (r *run) innermost() *attempt { return r.attempts[len(r.attempts)-1] }

func (r *run) outer(number int) any { return r.innermost().variables[number] }

// dot returns a list of the element's own type: messages name it.
func (r *run) dot() any {
	dot := reflect.ValueOf(r.innermost().dot)
	if !dot.IsValid() {
		return []any{nil}
	}
	return reflect.Append(reflect.MakeSlice(reflect.SliceOf(dot.Type()), 0, 1), dot).Interface()
}

func (r *run) finals(values ...any) string {
	r.innermost().finals = values
	return ""
}
