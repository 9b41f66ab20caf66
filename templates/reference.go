package templates

import (
	_ "embed" // for the reference
	"slices"
	"strings"
	"sync"
)

// A Function is the documentation of a function that templates may call.
type Function struct {
	Name             string `json:"name"`
	Topic            string `json:"topic"`            // all functions of a topic follow each other
	Usage            string `json:"usage"`            // the name and what it takes, in the order of a call
	Description      string `json:"description"`      // one line
	Example          string `json:"example"`          // a template; see [Functions]
	Result           string `json:"result"`           // what the example renders to
	Nondeterministic bool   `json:"nondeterministic"` // see [Template.NondeterministicLines]
}

//go:embed functions.txt
var reference string

// Functions returns every function that templates may call: those of text/template, of sprig and of this package, which replace
// those of the same name. They are sorted by topic, those about services first.
//
// The examples are rendered for a service "web" with two instances that offer service port 8080.
func Functions() []Function { return slices.Clone(described()) }

// described reads the reference: topics after "== ", and for each function its usage, then indented its description, its
// example, and after "=> " the lines of the result.
var described = sync.OnceValue(func() []Function {
	var all []Function
	topic := ""
	for block := range strings.SplitSeq(strings.TrimSpace(reference), "\n\n") {
		if heading, ok := strings.CutPrefix(block, "== "); ok {
			topic = heading
			continue
		}
		lines := strings.Split(block, "\n\t")
		name, _, _ := strings.Cut(lines[0], " ")
		f := Function{Name: name, Topic: topic, Usage: lines[0], Description: lines[1], Example: lines[2]}
		var result []string
		for _, line := range lines[3:] {
			result = append(result, strings.TrimPrefix(line, "=> "))
		}
		f.Result = strings.Join(result, "\n")
		f.Nondeterministic = isNondeterministic(name)
		all = append(all, f)
	}
	return all
})

// usages returns how each function is called, by its name.
func usages() map[string]string {
	all := map[string]string{}
	for _, f := range described() {
		all[f.Name] = f.Usage
	}
	return all
}
