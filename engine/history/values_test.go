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
	file, err := parser.ParseFile(token.NewFileSet(), "change.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		for _, prefix := range []string{"Trigger", "Outcome"} {
			if strings.HasPrefix(spec.Names[0].Name, prefix) {
				value, _ := strconv.Unquote(literal.Value)
				constants[prefix] = append(constants[prefix], value)
			}
		}
		return true
	})
	for prefix, got := range map[string][]string{"Trigger": Triggers(), "Outcome": Outcomes()} {
		want := constants[prefix]
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -constants +list\n%s", prefix, diff)
		}
	}
}
