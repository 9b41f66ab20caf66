package syntax

import (
	"slices"
	"testing"
)

func TestDifferentVariable(t *testing.T) {
	master := map[string]string{"A": "old", "SAME": "1", "HAPROXY_MWORKER": "1", "PLUGIN_X": "1"}
	fresh := map[string]string{"B": "new", "SAME": "1"}
	for _, test := range []struct{ name, config, want string }{
		{"nothing referred to", "global\n    maxconn 1\n", ""},
		{"equal", "frontend f\n    bind \"$SAME\"\n", ""},
		{"plain", "frontend f\n    bind \"$A:1\"\n", "A"},
		{"in braces", "frontend f\n    bind \"${A}\"\n", "A"},
		{"with a default", "frontend f\n    bind \"${A-x}\"\n", "A"},
		{"only in the other one", "frontend f\n    bind \"$B\"\n", "B"},
		{"a fetch", "frontend f\n    http-response set-header x %[env(A)]\n", "A"},
		{"a condition", ".if defined(A)\nglobal\n.endif\n", "A"},
		{"the master", "global\n.if defined(HAPROXY_MWORKER)\n.endif\n", "HAPROXY_MWORKER"},
		{"HAProxy's own", "peers p\n    peer \"$HAPROXY_LOCALPEER\" 1.2.3.4:5\n", ""},
		{"in a name", "frontend f\n    bind \"$AB\"\n", ""},
		{"in a comment", "frontend f # $A\n", ""},
		{"set before", "global\n    setenv A x\nfrontend f\n    bind \"$A\"\n", ""},
		{"set with quotes", "global\n    setenv \"A\" x\nfrontend f\n    bind \"$A\"\n", ""},
		{"set afterwards", "global\n    description \"$A\"\n    setenv A x\n", "A"},
		{"set from itself", "global\n    setenv A \"${A}x\"\n", "A"},
		{"set under a condition", "global\n    .if version_atleast(2.6)\n    setenv A x\n    .endif\n" +
			"frontend f\n    bind \"$A\"\n", "A"},
		{"preset to another value", "global\n    presetenv A x\nfrontend f\n    bind \"$A\"\n", "A"},
		{"preset to the value that it has", "global\n    presetenv A old\nfrontend f\n    bind \"$A\"\n", ""},
		{"unset", "global\n    unsetenv SAME A\nfrontend f\n    bind \"$A\"\n", ""},
		{"reset", "global\n    resetenv SAME\nfrontend f\n    bind \"$A$SAME\"\n", ""},
		{"a program", "program p\n    command x\n", "A"},
		{"a script", "global\n    lua-load x\n", "A"},
		{"a script after all is set", "global\n    setenv A x\n    setenv B x\n    lua-load x\n", ""},
	} {
		if got := Parse([]byte(test.config), nil).DifferentVariable(master, fresh); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	if master["A"] != "old" || len(master) != 4 || len(fresh) != 2 {
		t.Errorf("the environments were changed: %v, %v", master, fresh)
	}
}

func TestVariables(t *testing.T) {
	c := Parse([]byte("global\n    setenv A x\n    presetenv B \"$C\"\n    unsetenv D\nfrontend f\n"+
		"    bind \"${E}\"\n    log-format \"%[env(E)] $A $HAPROXY_LOCALPEER\"\n"), nil)
	if got := c.Variables(); !slices.Equal(got, []string{"A", "C", "E"}) {
		t.Errorf("variables %q", got)
	}
	if got := c.AssignedVariables(); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("assigned %q", got)
	}
	if c.ResetsEnvironment() || !Parse([]byte("global\n    resetenv\n"), nil).ResetsEnvironment() {
		t.Error("resetenv is not recognised")
	}
}
