package templates

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// text/template stops at the first failure. To find all iterations that fail in one rendering, attemptIterations turns a range
//
//	{{ range $name, $instances := .Services }} BODY {{ end }}
//
// into
//
//	{{ range $name, $instances := .Services }}{{ _attempt 0 1 $ . $x $name $instances }}{{ $x = _final 0 }}{{ end }}
//
// where $x is the one variable from outside that BODY assigns to, and BODY is a template of its own:
//
//	{{ $x := _outer 0 }}{{ $name := _outer 1 }}{{ $instances := _outer 2 }}{{ range _dot }} BODY {{ end }}{{ _finals $x }}
//
// An attempt at an instance or a service that fails writes nothing and assigns nothing, as if that one did not exist, and the
// rendering goes on.

const (
	hookAttempt = "_attempt" // in place of the body of a range
	hookFinal   = "_final"   // after it: the value of a variable that the body assigns to, by its number
	hookOuter   = "_outer"   // in a body: a variable from outside, by its number
	hookDot     = "_dot"     // in a body: the element, in a list of its own
	hookFinals  = "_finals"  // at the end of a body, with the variables that it assigns to
)

// attemptIterations edits the ranges of set, except those whose bodies depend on being one.
func attemptIterations(set *template.Template) {
	a := &attempter{set: set}
	for _, t := range set.Templates() {
		a.tree = t.Tree
		a.list(t.Root, nil)
	}
}

type attempter struct {
	set    *template.Template
	tree   *parse.Tree
	bodies int
}

// list edits the ranges of a list in which the variables of scope are declared, inner ranges before outer ones.
func (a *attempter) list(list *parse.ListNode, scope []string) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		if action, ok := n.(*parse.ActionNode); ok {
			scope = parsetree.Declare(scope, action.Pipe)
			continue
		}
		b := parsetree.Branch(n)
		if b == nil {
			continue
		}
		inner := parsetree.Declare(scope, b.Pipe)
		a.list(b.List, inner)
		a.list(b.ElseList, inner)
		if loop, ok := n.(*parse.RangeNode); ok {
			a.loop(loop, inner)
		}
	}
}

func (a *attempter) loop(loop *parse.RangeNode, scope []string) {
	used, assigned, ok := parsetree.OuterVariables(loop.List, scope)
	if !ok {
		return
	}
	pos := loop.Position()
	isAssigned := func(name string) bool { return slices.Contains(assigned, name) }
	variables := slices.Concat(assigned, slices.DeleteFunc(used, isAssigned))
	args := []parse.Node{
		parsetree.Number(pos, a.bodies), parsetree.Number(pos, len(assigned)), parsetree.Variable(pos, "$"), parsetree.Dot(pos),
	}
	attempt := parsetree.Action(a.tree, pos, hookAttempt, append(args, parsetree.Variables(pos, variables)...)...)
	a.define(pos, variables, len(assigned), loop.List)
	loop.List = parsetree.List(pos, attempt)
	for i, name := range assigned {
		loop.List.Nodes = append(loop.List.Nodes, parsetree.Assignment(a.tree, pos, name, false, hookFinal, i))
	}
}

// define makes content a template of its own.
func (a *attempter) define(pos parse.Pos, variables []string, assigned int, content *parse.ListNode) {
	root := parsetree.List(pos)
	for i, name := range variables {
		root.Nodes = append(root.Nodes, parsetree.Assignment(a.tree, pos, name, true, hookOuter, i))
	}
	root.Nodes = append(root.Nodes,
		&parse.RangeNode{BranchNode: parse.BranchNode{
			NodeType: parse.NodeRange, Pos: pos, Pipe: parsetree.Action(a.tree, pos, hookDot).Pipe, List: content,
		}},
		parsetree.Action(a.tree, pos, hookFinals, parsetree.Variables(pos, variables[:assigned])...))
	tree := a.tree.Copy() // for the text, to which positions refer
	tree.Name, tree.Root = bodyName(a.bodies), root
	template.Must(a.set.AddParseTree(tree.Name, tree))
	a.bodies++
}

func bodyName(number int) string { return fmt.Sprintf("_body %d", number) }

// An attempt renders one iteration.
type attempt struct {
	dot       any
	variables []any
	finals    []any // the variables that the body assigns to, as they are at its end
}

// attempt renders the body with that number. It fails only if the failure is not about one instance or service alone.
func (x *execution) attempt(number, assigned int, top, dot any, variables ...any) (string, error) {
	a := &attempt{dot: dot, variables: variables, finals: variables[:assigned]}
	attempts, ranges, depth, includes := x.attempts, x.recorder.Depth(), x.depth, x.includes
	x.attempts = append(x.attempts, a)
	var out strings.Builder
	if err := x.set.ExecuteTemplate(&writer{x, &out}, bodyName(number), top); err != nil {
		if _, _, owned := sourcemap.OwnerOf(dot); !owned || x.isFatal(err) {
			return "", err
		}
		x.failed(err)
		x.recorder.Unwind(ranges)
		x.depth, x.includes, a.finals = depth, includes, variables[:assigned]
		out.Reset()
	}
	x.attempts, x.lastFinals = attempts, a.finals
	return out.String(), nil
}

// isFatal reports whether the rendering ends with err, whatever it is about.
func (x *execution) isFatal(err error) bool {
	own, ok := errors.AsType[*failure](err)
	return ok && own.runaway || x.exceeded() != nil
}

func (x *execution) innermostAttempt() *attempt { return x.attempts[len(x.attempts)-1] }

// attemptHooks returns the functions that templates with attempts call.
func (x *execution) attemptHooks() template.FuncMap {
	return template.FuncMap{
		hookAttempt: x.attempt,
		hookFinal:   func(number int) any { return x.lastFinals[number] },
		hookOuter:   func(number int) any { return x.innermostAttempt().variables[number] },
		hookDot: func() any {
			dot := reflect.ValueOf(x.innermostAttempt().dot)
			if !dot.IsValid() {
				return []any{nil}
			}
			// Of the element's own type, which messages name.
			return reflect.Append(reflect.MakeSlice(reflect.SliceOf(dot.Type()), 0, 1), dot).Interface()
		},
		hookFinals: func(values ...any) string {
			x.innermostAttempt().finals = values
			return ""
		},
	}
}
