package templates

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/agnivade/levenshtein"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A scene is what is known of where a mistake was made.
type scene struct {
	before    string // the file up to the place
	rest      string // the line from the place on
	view      *view  // nil before anything is rendered
	vars      map[string]any
	templates []string
}

// nearest returns the candidate that name was most likely meant to be, "" where none resembles it.
func nearest(name string, candidates []string) string {
	best, least := "", max(1, len(name)/3)+1
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance counts the characters that differ. The beginning of a word is not far from the whole, nor are letters that came in
// the wrong order.
func distance(name, candidate string) int {
	d := levenshtein.ComputeDistance(name, candidate)
	begins := len(name) > 2 && strings.HasPrefix(candidate, name)
	if d > 1 && (begins || sorted(name) == sorted(candidate)) {
		return 1
	}
	return d
}

func sorted(text string) string { return string(slices.Sorted(slices.Values([]byte(text)))) }

// didYouMean asks for the nearest of the candidates, or says what else to do where none is near.
func didYouMean(name string, candidates []string, otherwise string) string {
	if best := nearest(name, candidates); best != "" && best != name {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return otherwise
}

func hintFunction(name string) string {
	return didYouMean(name, functionNames(),
		`a text is written in double quotes; "haproxy-api template functions" lists the functions`)
}

var declaration = regexp.MustCompile(`(\$\w+)\s*(?:,\s*(\$\w+)\s*)?:?=`)

func hintVariable(s scene, name string) string {
	var declared []string
	for _, match := range declaration.FindAllStringSubmatch(s.before, -1) {
		declared = append(declared, match[1:]...)
	}
	if slices.Contains(declared, name) {
		return "it is known only up to the {{ end }} of the block in which it is declared: declare it before that block"
	}
	return didYouMean(name, slices.DeleteFunc(declared, func(d string) bool { return d == "" }),
		fmt.Sprintf("declare it first, as in {{ %s := 1 }}", name))
}

func hintTemplate(name string, templates []string) string {
	return didYouMean(name, templates, fmt.Sprintf("a file defines it with {{ define %q }}, or is a partial of that name", name))
}

func templateNames(set *template.Template) []string {
	var names []string
	for _, t := range set.Templates() {
		names = append(names, t.Name())
	}
	return names
}

// known are the types whose fields people look for, by what a template calls them.
var known = map[reflect.Type]string{
	reflect.TypeFor[root]():         "the root",
	reflect.TypeFor[sdk.Instance](): "an instance",
	reflect.TypeFor[sdk.Port]():     "a port",
}

// hintField helps who looked for a field in a value of the named type.
func hintField(name, typeName string) string {
	rootHas := slices.Contains(fieldsOf(reflect.TypeFor[root]()), name)
	for t, words := range known {
		if t.String() != typeName {
			continue
		}
		if rootHas {
			return fmt.Sprintf("the dot is %s here: write $.%s", words, name)
		}
		fields := fieldsOf(t)
		return strings.TrimSpace(didYouMean(name, fields, "") + " " + words + " has " + strings.Join(fields, ", "))
	}
	switch {
	case rootHas:
		return "the dot is something else here: write $." + name
	case typeName == reflect.TypeFor[[]sdk.Instance]().String():
		return "this is all instances of a service: go through them with range, or take one with first"
	}
	return "only a map, an instance, a port and the root have fields"
}

// fieldsOf returns the fields and methods of t that templates can use, in order of the alphabet.
func fieldsOf(t reflect.Type) []string {
	var names []string
	for _, field := range reflect.VisibleFields(t) {
		hidden := field.Name == "Invalid" // empty in a template: such an instance is quarantined
		if field.IsExported() && !field.Anonymous && !hidden {
			names = append(names, field.Name)
		}
	}
	for i := range t.NumMethod() {
		if method := t.Method(i).Type; method.NumIn() == 1 && method.NumOut() == 1 {
			names = append(names, t.Method(i).Name)
		}
	}
	slices.Sort(names)
	return names
}

var (
	serviceField = regexp.MustCompile(`\.Services\.(\w+)|\.Services "([^"]*)"`)
	varsField    = regexp.MustCompile(`\.Vars\.(\w+)`)
)

// hintNothing helps who used something that does not exist.
func hintNothing(s scene) string {
	if match := serviceField.FindStringSubmatch(s.rest); match != nil && s.view != nil {
		name := cmp.Or(match[1], match[2])
		if _, ok := s.view.live[name]; !ok {
			there := slices.Collect(maps.Keys(s.view.live))
			return fmt.Sprintf("there is no living instance of a service %q now; ", name) +
				didYouMean(name, there, "write what needs it between {{ with .Services."+name+" }} and {{ end }}")
		}
	}
	if match := varsField.FindStringSubmatch(s.rest); match != nil {
		if _, ok := s.vars[match[1]]; !ok {
			return didYouMean(match[1], slices.Collect(maps.Keys(s.vars)),
				"no "+match[1]+" is among the vars of the configuration: give one there, or a default here")
		}
	}
	return ""
}

func hintUsage(function string) string {
	if usage := usageOf(function); usage != "" {
		return "it is called as {{ " + usage + " }}, and what is piped into it comes last"
	}
	return ""
}
