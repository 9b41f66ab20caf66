package main

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/templates"
)

// The package templates tests that the examples are true.
func TestTemplateFunctions_ListsAndShowsEveryFunction(t *testing.T) {
	var list strings.Builder
	root := newRoot()
	root.SetArgs([]string{"template", "functions"})
	root.SetOut(&list)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	all := templates.Functions()
	if len(all) < 100 {
		t.Fatalf("%d functions", len(all))
	}
	for _, f := range all {
		var shown strings.Builder
		if err := describeFunction(&shown, f); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(list.String(), shown.String()) {
			t.Errorf("the list lacks\n%s", shown.String())
		}
		for _, part := range []string{f.Usage, f.Description, f.Example, strings.ReplaceAll(f.Result, "\n", "\n  => ")} {
			if !strings.Contains(shown.String(), part) {
				t.Errorf("%s: %q is not shown:\n%s", f.Name, part, shown.String())
			}
		}
	}
}
