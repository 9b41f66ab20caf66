package templates

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// compile parses all sources into one set, so that each can use what another defines. A traced set does the same as an
// untraced one, slower, and notes on its way where it is.
func compile(cfg Config, sources []source, traced bool) (*template.Template, error) {
	set := template.New("").Delims(cfg.Delims[0], cfg.Delims[1]).Funcs((&run{}).functions())
	definedIn := map[string]string{}
	var faults []error
	for _, src := range sources {
		parsed, err := template.Must(set.Clone()).New(src.name).Parse(src.text)
		if err != nil {
			faults = append(faults, parseError(cfg, src, err))
			continue
		}
		for _, t := range fresh(parsed, set) {
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
	guardRecursion(set)
	countRounds(set)
	if traced {
		traceAll(set)
	}
	return set, errors.Join(faults...)
}

// fresh returns, by name, the templates of parsed that are not simply those of set.
func fresh(parsed, set *template.Template) []*template.Template {
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

// guardRecursion makes every template that can come back to itself count how deep it is. text/template itself stops
// only after 100,000 levels, and needs hours for that where a range is on the way: each level's recovery handles the
// error.
func guardRecursion(set *template.Template) {
	calls := map[string][]string{}
	for _, t := range set.Templates() {
		for list := range lists(t.Root) {
			for _, n := range list.Nodes {
				if call, ok := n.(*parse.TemplateNode); ok {
					calls[t.Name()] = append(calls[t.Name()], call.Name)
				}
			}
		}
	}
	for _, t := range set.Templates() {
		if reaches(calls, t.Name(), t.Name(), map[string]bool{}) {
			root := t.Root
			root.Nodes = slices.Concat(
				[]parse.Node{hook(t.Tree, root.Position(), hookDescend)},
				root.Nodes,
				[]parse.Node{hook(t.Tree, root.Position(), hookAscend)},
			)
		}
	}
}

// reaches reports whether from calls target, directly or through others.
func reaches(calls map[string][]string, from, target string, seen map[string]bool) bool {
	for _, callee := range calls[from] {
		if callee == target {
			return true
		}
		if !seen[callee] {
			seen[callee] = true
			if reaches(calls, callee, target, seen) {
				return true
			}
		}
	}
	return false
}
