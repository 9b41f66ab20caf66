package templates

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/haproxy-api/haproxy-api/templates/internal/parsetree"
)

// compile parses all sources into one set, so that each can use what another one defines. The error joins an [*Error] for each
// fault.
func compile(cfg Config, sources []source) (*template.Template, error) {
	set := newSet(cfg)
	definedIn := map[string]string{}
	var faults []error
	for _, src := range sources {
		parsed, err := template.Must(set.Clone()).New(src.name).Parse(src.text)
		if err != nil {
			faults = append(faults, parseError(cfg, src, err))
			continue
		}
		for _, t := range newTemplates(parsed, set) {
			if other, ok := definedIn[t.Name()]; ok {
				faults = append(faults, &Error{File: src.path, Message: fmt.Sprintf(
					"template %q is defined here and in %s; rename one", t.Name(), other)})
				continue
			}
			definedIn[t.Name()] = src.path
			if _, err := set.AddParseTree(t.Name(), t.Tree); err != nil {
				faults = append(faults, &Error{File: src.path, Message: err.Error()})
			}
		}
	}
	limitRecursion(set)
	countIterations(set)
	return set, errors.Join(faults...)
}

// newTemplates returns the templates of parsed that set does not have, sorted by name.
func newTemplates(parsed, set *template.Template) []*template.Template {
	var all []*template.Template
	for _, t := range parsed.Templates() {
		if old := set.Lookup(t.Name()); t.Tree != nil && (old == nil || old.Tree != t.Tree) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *template.Template) int {
		return strings.Compare(a.Name(), b.Name())
	})
	return all
}

// Functions that only edited parse trees call. Their names are valid identifiers, so a template that uses one gets what it asks
// for.
const (
	hookDescend = "_descend" // at the start of a template that can call itself
	hookAscend  = "_ascend"  // at its end
)

// limitRecursion makes every template that can call itself, directly or through others, count how deep it is. text/template
// itself stops only after 100,000 levels, and needs hours for that where a range is on the way, since every level handles the
// error again.
func limitRecursion(set *template.Template) {
	callees := map[string][]string{}
	for _, t := range set.Templates() {
		for n := range parsetree.Nodes(t.Root) {
			if call, ok := n.(*parse.TemplateNode); ok {
				callees[t.Name()] = append(callees[t.Name()], call.Name)
			}
		}
	}
	for _, t := range set.Templates() {
		if reaches(callees, t.Name(), t.Name(), map[string]bool{}) {
			root := t.Root
			root.Nodes = slices.Concat(
				[]parse.Node{parsetree.Action(t.Tree, root.Position(), hookDescend)},
				root.Nodes,
				[]parse.Node{parsetree.Action(t.Tree, root.Position(), hookAscend)},
			)
		}
	}
}

// reaches reports whether from calls target, directly or through others.
func reaches(callees map[string][]string, from, target string, seen map[string]bool) bool {
	for _, callee := range callees[from] {
		if callee == target {
			return true
		}
		if !seen[callee] {
			seen[callee] = true
			if reaches(callees, callee, target, seen) {
				return true
			}
		}
	}
	return false
}

// countIterations makes every iteration of a range write an empty text, which the writer counts as a step. That costs less than
// calling a function.
func countIterations(set *template.Template) {
	for _, t := range set.Templates() {
		for n := range parsetree.Nodes(t.Root) {
			if loop, ok := n.(*parse.RangeNode); ok {
				empty := &parse.TextNode{NodeType: parse.NodeText, Pos: loop.Position()}
				loop.List.Nodes = append([]parse.Node{empty}, loop.List.Nodes...)
			}
		}
	}
}

// calledFunctions returns the names of the functions that templates of the set call, and of the fields and methods, with a dot
// before them.
func calledFunctions(set *template.Template) map[string]bool {
	called := map[string]bool{}
	addFields := func(names []string) {
		for _, name := range names {
			called["."+name] = true
		}
	}
	for _, t := range set.Templates() {
		for n := range parsetree.Nodes(t.Root) {
			switch n := n.(type) {
			case *parse.IdentifierNode:
				called[n.Ident] = true
			case *parse.FieldNode:
				addFields(n.Ident)
			case *parse.VariableNode:
				addFields(n.Ident[1:])
			case *parse.ChainNode:
				addFields(n.Field)
			}
		}
	}
	return called
}
