package templates

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// text/template stops at the first failure. To find all iterations that fail in one rendering, attemptIterations turns a range
//
//	{{ range $name, $instances := .Services }} BODY {{ end }}
//
// into
//
//	{{ range $name, $instances := .Services }}{{ _attempt 0 1 $ . $x $name $instances }}{{ $x = _result 0 }}{{ end }}
//
// where $x is the one variable from outside that BODY assigns to, and BODY is a template of its own:
//
//	{{ $x := _outer 0 }}{{ $name := _outer 1 }}{{ $instances := _outer 2 }}{{ range _element }} BODY {{ end }}{{ _results $x }}
//
// An attempt at an instance or a service that fails writes nothing and assigns nothing, as if that one did not exist, and the
// rendering goes on.

const (
	hookAttempt = "_attempt" // in place of the body of a range
	hookResult  = "_result"  // after it: the value of a variable that the body assigns to, by its number
	hookOuter   = "_outer"   // in a body: a variable from outside, by its number
	hookElement = "_element" // in a body: the element, in a list of its own
	hookResults = "_results" // at the end of a body, with the variables that it assigns to
)

// explain returns an [*Error] with the positions and the owners of all failing iterations. It renders again, with templates that
// record both and attempt every iteration, since that makes a rendering slower.
func (t *Template) explain(ctx context.Context, s *services, failure error) *Error {
	if ctx.Err() != nil {
		return t.renderError(s, failure, "")
	}
	set := t.instrumented()
	attemptIterations(set)
	x := t.newExecution(set)
	defer x.begin(ctx, s)()
	var first *Error
	x.failed = func(err error) {
		e := t.renderError(s, err, describeOwner(x.recorder.Owner()))
		e.Service, e.Instance = x.recorder.Owner()
		switch {
		case first == nil:
			first = e
		case e.Service != "":
			first.Further = append(first.Further, e)
		}
	}
	if _, err := x.files(); err != nil {
		x.failed(err)
	}
	if first == nil { // a nondeterministic template may fail only sometimes
		return t.renderError(s, failure, "")
	}
	return first
}

// describeOwner returns a human-readable name of a service or of one of its instances. It returns "" for none.
func describeOwner(service string, inst *sdk.Instance) string {
	switch {
	case inst != nil:
		return describe(*inst)
	case service != "":
		return "service " + strconv.Quote(service)
	}
	return ""
}

// attemptIterations edits the ranges of set, except those whose bodies depend on being one.
func attemptIterations(set *template.Template) {
	a := &attempter{set: set}
	for _, t := range set.Templates() {
		a.tree = t.Tree
		for _, loop := range parsetree.Loops(t.Root) {
			a.loop(loop)
		}
	}
}

type attempter struct {
	set    *template.Template
	tree   *parse.Tree
	bodies int
}

func (a *attempter) loop(loop parsetree.Loop) {
	used, assigned, ok := parsetree.OuterVariables(loop.List, parsetree.Declare(loop.Scope, loop.Pipe))
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
		loop.List.Nodes = append(loop.List.Nodes, parsetree.Assignment(a.tree, pos, name, false, hookResult, i))
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
			NodeType: parse.NodeRange, Pos: pos, Pipe: parsetree.Action(a.tree, pos, hookElement).Pipe, List: content,
		}},
		parsetree.Action(a.tree, pos, hookResults, parsetree.Variables(pos, variables[:assigned])...))
	tree := a.tree.Copy() // for the text, to which positions refer
	tree.Name, tree.Root = bodyName(a.bodies), root
	template.Must(a.set.AddParseTree(tree.Name, tree))
	a.bodies++
}

func bodyName(number int) string { return fmt.Sprintf("_body %d", number) }

// An attemptState is the state of a rendering that is about attempts.
type attemptState struct {
	attempts    []*attempt  // the current ones, from the outermost
	lastResults []any       // of the last attempt that ended
	failed      func(error) // receives the failure of an attempt
}

// An attempt renders one iteration.
type attempt struct {
	dot       any
	variables []any
	results   []any // the variables that the body assigns to, as they are at its end
}

// attempt renders the body with that number. It fails only if the failure is not about one instance or service alone.
func (x *execution) attempt(number, assigned int, top, dot any, variables ...any) (string, error) {
	a := &attempt{dot: dot, variables: variables, results: variables[:assigned]}
	attempts, ranges, depth, includes := x.attempts, x.recorder.Depth(), x.depth, x.includes
	x.attempts = append(x.attempts, a)
	var out strings.Builder
	if err := x.set.ExecuteTemplate(&writer{x, &out}, bodyName(number), top); err != nil {
		if _, _, owned := sourcemap.OwnerOf(dot); !owned || x.isFatal(err) {
			return "", err
		}
		x.failed(err)
		x.recorder.Unwind(ranges)
		x.depth, x.includes, a.results = depth, includes, variables[:assigned]
		out.Reset()
	}
	x.attempts, x.lastResults = attempts, a.results
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
		hookResult:  func(number int) any { return x.lastResults[number] },
		hookOuter:   func(number int) any { return x.innermostAttempt().variables[number] },
		hookElement: func() any {
			dot := reflect.ValueOf(x.innermostAttempt().dot)
			if !dot.IsValid() {
				return []any{nil}
			}
			// Of the element's own type, which messages name.
			return reflect.Append(reflect.MakeSlice(reflect.SliceOf(dot.Type()), 0, 1), dot).Interface()
		},
		hookResults: func(values ...any) string {
			x.innermostAttempt().results = values
			return ""
		},
	}
}
