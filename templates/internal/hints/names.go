package hints

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Context is what is known of where a mistake was made, and of what templates may use.
type Context struct {
	Before    string            // the file up to the position
	Rest      string            // the line from the position on
	Services  []string          // the keys of .Services; nil before a rendering
	Vars      map[string]any    // .Vars
	Templates []string          // the names of the templates of the set
	Functions map[string]string // the usage of each function by its name
	Root      reflect.Type      // of the value that templates are executed with
}

// didYouMean asks for the nearest of the candidates, or returns otherwise if none is near.
func didYouMean(name string, candidates []string, otherwise string) string {
	if best, similar := suggest.Nearest(name, candidates); similar && best != name {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return otherwise
}

func forFunction(c Context, name string) string {
	return didYouMean(name, slices.Collect(maps.Keys(c.Functions)),
		`strings are written in double quotes; "haproxy-api template functions" lists the functions`)
}

func forUsage(c Context, function string) string {
	if usage := c.Functions[function]; usage != "" {
		return "it is called as {{ " + usage + " }}; a piped value is the last argument"
	}
	return ""
}

var declaration = regexp.MustCompile(`(\$\w+)\s*(?:,\s*(\$\w+)\s*)?:?=`)

func forVariable(c Context, name string) string {
	var declared []string
	for _, match := range declaration.FindAllStringSubmatch(c.Before, -1) {
		declared = append(declared, match[1:]...)
	}
	if slices.Contains(declared, name) {
		return "its scope ends with the {{ end }} of the block in which it is declared: declare it before that block"
	}
	return didYouMean(name, slices.DeleteFunc(declared, func(d string) bool { return d == "" }),
		fmt.Sprintf("declare it first, as in {{ %s := 1 }}", name))
}

// ForTemplate returns what to do about the name of a template that is not among templates.
func ForTemplate(name string, templates []string) string {
	return didYouMean(name, templates, fmt.Sprintf("a file defines it with {{ define %q }}, or is a partial of that name", name))
}

// forField returns what to do about a field that a value of the named type does not have.
func forField(c Context, name, typeName string) string {
	types := []struct {
		of   reflect.Type
		name string
	}{
		{c.Root, "the root"}, {reflect.TypeFor[sdk.Instance](), "an instance"}, {reflect.TypeFor[sdk.Port](), "a port"},
	}
	rootHas := slices.Contains(fieldsOf(c.Root), name)
	for _, t := range types {
		if t.of.String() != typeName {
			continue
		}
		if rootHas {
			return fmt.Sprintf("the dot is %s here: write $.%s", t.name, name)
		}
		fields := fieldsOf(t.of)
		return strings.TrimSpace(didYouMean(name, fields, "") + " " + t.name + " has " + strings.Join(fields, ", "))
	}
	switch {
	case rootHas:
		return "the dot is not the root here: write $." + name
	case typeName == reflect.TypeFor[[]sdk.Instance]().String():
		return "this is a list of instances: iterate over it with range, or take one with first"
	}
	return "only maps, instances, ports and the root have fields"
}

// fieldsOf returns the fields and methods of t that templates can use, sorted.
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

// ForMissingValue returns what to do about a service or variable at the position that does not exist, and "" for other values.
func ForMissingValue(c Context) string {
	if match := serviceField.FindStringSubmatch(c.Rest); match != nil && c.Services != nil {
		if name := cmp.Or(match[1], match[2]); !slices.Contains(c.Services, name) {
			return fmt.Sprintf("service %q has no usable instance at the moment; ", name) +
				didYouMean(name, c.Services, "write what needs it between {{ with .Services."+name+" }} and {{ end }}")
		}
	}
	if match := varsField.FindStringSubmatch(c.Rest); match != nil {
		if _, ok := c.Vars[match[1]]; !ok {
			return didYouMean(match[1], slices.Collect(maps.Keys(c.Vars)),
				match[1]+" is not among the vars of the configuration: set it there, or give a default here")
		}
	}
	return ""
}
