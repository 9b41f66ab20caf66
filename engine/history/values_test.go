package history

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The lists have every constant.
func TestValues_ListEveryConstant(t *testing.T) {
	constants := map[string][]string{}
	for _, name := range []string{"change.go", "../../plugins/sdk/event.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		addConstants(constants, file)
	}
	for prefix, got := range map[string][]string{"Trigger": Triggers(), "Outcome": Outcomes(), "Event": Events()} {
		want := constants[prefix]
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -constants +list\n%s", prefix, diff)
		}
	}
}

// addConstants adds the values of the string constants in the file to the lists of their prefixes.
func addConstants(constants map[string][]string, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		for _, prefix := range []string{"Trigger", "Outcome", "Event"} {
			if strings.HasPrefix(spec.Names[0].Name, prefix) {
				value, _ := strconv.Unquote(literal.Value)
				constants[prefix] = append(constants[prefix], value)
			}
		}
		return true
	})
}
