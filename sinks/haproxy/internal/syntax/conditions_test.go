package syntax

import (
	"fmt"
	"strings"
	"testing"
)

// A server of the backend a changes, in configurations with conditional blocks: the reason for a reload names the line
// that decides what HAProxy reads.
func TestConditions(t *testing.T) {
	const servers = "backend a\n" + serverX
	for _, test := range []struct {
		name, config string // of which serverX changes its port
		line         string // named in the reason; empty for no reload
	}{
		{"in global", "global\n .if defined(A)\n maxconn 9\n .else\n maxconn 8\n .endif\n" + servers, ""},
		{"in a frontend", "frontend f\n .if defined(A)\n bind :1\n .endif\n" + servers, ""},
		{"in another backend", "backend b\n .if defined(A)\n balance first\n .endif\n" + servers, ""},
		{"messages", "global\n .notice hello\n .warning \"a b\"\n .diag x\n" +
			"backend b\n .notice b\n" + servers + " .notice a\n", ""},
		{"around other sections", ".if feature(QUIC)\nfrontend f\n bind :1\n.endif\n" + servers, ""},
		{"around sections behind it", servers + ".if defined(A)\nfrontend f\n.else\nfrontend g\n.endif\nbackend b\n", ""},
		{"at the top", ".if defined(A)\n.notice x\n.endif\n" + servers, ""},
		{"in defaults of others", "defaults d\n .if defined(A)\n balance first\n .endif\ndefaults e\n" + servers, ""},
		{"in defaults, from others", "defaults e\ndefaults d\n .if defined(A)\n balance first\n .endif\n" +
			"backend a from e\n" + serverX, ""},

		{"around the line", "backend a\n .if defined(A)\n" + serverX + " .endif\n", ".if defined(A)"},
		{"before the line", "backend a\n .if defined(A)\n balance first\n .endif\n" + serverX, ".if defined(A)"},
		{"quoted", "backend a\n \".if\" defined(A)\n balance first\n .endif\n" + serverX, ".if defined(A)"},
		{"in its defaults", "defaults\n .if defined(A)\n balance first\n .endif\n" + servers, ".if defined(A)"},
		{"in defaults of its defaults", "defaults d\n .if defined(A)\n balance first\n .endif\ndefaults e from d\n" +
			"backend a from e\n" + serverX, ".if defined(A)"},
		{"around its defaults", "defaults\n.if defined(A)\ndefaults\n balance first\n.endif\n" + servers, ".if defined(A)"},
		{"around its named defaults", ".if defined(A)\ndefaults d\n balance first\n.endif\nbackend a from d\n" + serverX,
			".if defined(A)"},
		{"around it", ".if defined(A)\n" + servers + ".endif\n", ".if defined(A)"},
		{"around it and others", ".if defined(A)\nbackend b\n" + servers + "backend c\n.endif\n", ".if defined(A)"},
		{"nested", ".if defined(A)\nbackend b\n .if defined(B)\n balance first\n .endif\n" + servers + ".endif\n",
			".if defined(A)"},
		{"around the header behind it", servers + ".if defined(A)\nbackend b\n.endif\n balance first\n", ".if defined(A)"},
		{"around its header only", "backend b\n.if defined(A)\nbackend a\n.endif\n" + serverX, ".if defined(A)"},
		{"else behind a header", servers + ".if defined(A)\nfrontend f\n.else\n balance first\n.endif\n", ".if defined(A)"},
		{"one of two of a name", ".if defined(A)\nbackend a\n.endif\n" + servers, "same name"},
	} {
		was := Parse([]byte(test.config), nil)
		after := strings.Replace(test.config, serverX, " server x 127.0.0.1:9\n", 1)
		change := Compare(was, Parse([]byte(after), was))
		switch {
		case test.line == "" && (change.Reload != "" || fmt.Sprint(change.Servers) != "[a]"):
			t.Errorf("%s: %+v, want a change at run time", test.name, change)
		case test.line != "" && !strings.Contains(change.Reload, test.line):
			t.Errorf("%s: %+v, want a reload because of %s", test.name, change, test.line)
		}
		known := strings.Contains(fmt.Sprint(was.Backends()), "a")
		if known != (test.line == "") {
			t.Errorf("%s: the backends that say what runs are %v", test.name, was.Backends())
		}
		_, differs := PartialUpdate(was, Parse([]byte(after), was), func(string) bool { return false })
		if differs != (test.line == "") {
			t.Errorf("%s: there is a partial update: %v", test.name, differs)
		}
	}
}
