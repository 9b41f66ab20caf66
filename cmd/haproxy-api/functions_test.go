package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/templates"
)

// Every function is listed, and shown by its name, with a line and an example. That the examples are true is a test of the
// package templates.
func TestEveryFunctionIsListed(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), "haproxy-api", "template", "functions").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := templates.Functions()
	if len(all) < 100 {
		t.Fatalf("%d functions", len(all))
	}
	for _, f := range all {
		var shown strings.Builder
		if err := showFunction(&shown, all, f.Name); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(list), shown.String()) {
			t.Errorf("the list lacks\n%s", shown.String())
		}
		for _, part := range []string{f.Usage, f.Description, f.Example, strings.ReplaceAll(f.Result, "\n", "\n  => ")} {
			if !strings.Contains(shown.String(), part) {
				t.Errorf("%s: %q is not shown:\n%s", f.Name, part, shown.String())
			}
		}
	}
}
