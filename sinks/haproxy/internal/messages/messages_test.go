package messages

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		o    program.Outcome
		want string
	}{
		{program.Outcome{Code: 3}, "it ended with exit code 3 and without output"},
		{program.Outcome{Output: "one\n\ntwo\n", Code: 1}, "one; two"},
		{
			program.Outcome{
				Output: "[NOTICE]   (1) : haproxy version\n[ALERT]    (1) : first\n[ALERT] 325/140250 (1) : second\n",
				Code:   1,
			},
			"first; second",
		},
		{program.Outcome{Output: strings.Repeat("[ALERT] (1) : x\n", 8), Code: 1}, "x; x; x; x; x; x; (2 more)"},
	} {
		if got := Summary(test.o); got != test.want {
			t.Errorf("%q: %q, want %q", test.o.Output, got, test.want)
		}
	}
}

func TestPlaces_InTheFileThatTheAlertNames(t *testing.T) {
	files := []stage.File{
		{Path: "/etc/lb/haproxy.cfg", Name: "main", Content: []byte("backend b\n")}, {Path: "/etc/lb/a.lst", Name: "a.lst"},
	}
	for alert, want := range map[string]sdk.Position{
		"config : parsing [/etc/lb/haproxy.cfg:3] : x": {File: "main", Path: "/etc/lb/haproxy.cfg", Line: 3, Problem: "x"},
		"Parsing [/etc/lb/a.lst:4]: x":                 {File: "a.lst", Path: "/etc/lb/a.lst", Line: 4, Problem: "x"},
		"parsing [/etc/other.cfg:5] : x": {
			File: "main", Path: "/etc/lb/haproxy.cfg", Problem: "parsing [/etc/other.cfg:5] : x",
		},
		"Proxy 'b': x":    {File: "main", Path: "/etc/lb/haproxy.cfg", Line: 1, Problem: "Proxy 'b': x"},
		"nothing is free": {File: "main", Path: "/etc/lb/haproxy.cfg", Problem: "nothing is free"},
	} {
		got := Places(files, []string{alert, "config : Fatal errors found in configuration."})
		if diff := cmp.Diff([]sdk.Position{want}, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", alert, diff)
		}
	}
}

// HAProxy 3.3 and newer reject the first such pair and do not mention the others. The alert is the one of 3.4.0.
func TestPlaces_SharedNames(t *testing.T) {
	const config = "frontend a\n bind :1\nbackend a\nfrontend b-in\n bind :2\nbackend b\nbackend c\n\nfrontend c\n bind :3\n"
	files := []stage.File{{Path: "/etc/lb/haproxy.cfg", Name: "main", Content: []byte(config)}}
	got := Places(files, []string{
		"config : Parsing [/etc/lb/haproxy.cfg:3]: backend 'a' has the same name as frontend 'a' declared at " +
			"/etc/lb/haproxy.cfg:1. This is no longer supported as of 3.3. Please rename one or the other.",
		"config : Error(s) found in configuration file : /etc/lb/haproxy.cfg",
	})
	if len(got) != 2 {
		t.Fatalf("%d places: %+v", len(got), got)
	}
	for i, want := range []struct {
		line  int
		words []string
	}{
		{3, []string{"backend 'a'", "frontend 'a'", "line 1", "'a-in'"}},
		{9, []string{"frontend 'c'", "backend 'c'", "line 7", "'c-in'"}},
	} {
		if got[i].File != "main" || got[i].Path != "/etc/lb/haproxy.cfg" || got[i].Line != want.line {
			t.Errorf("place %d is %+v, want line %d", i, got[i], want.line)
		}
		for _, word := range want.words {
			if !strings.Contains(got[i].Problem, word) {
				t.Errorf("the problem %q lacks %q", got[i].Problem, word)
			}
		}
	}
}

func TestDeclarationLine(t *testing.T) {
	const config = "global\n\nfrontend x\n bind :1\nbackend x\n server a h:1\n server b h:2\nlisten y\n server b h:3\n" +
		"resolvers r\n server b h:4\n"
	for _, test := range []struct {
		kind, proxy, server string
		want                int
	}{
		{"proxy", "x", "", 3},
		{"frontend", "x", "", 3},
		{"backend", "x", "", 5},
		{"backend", "x", "b", 7},
		{"backend", "x", "c", 5},
		{"backend", "y", "b", 9},
		{"proxy", "z", "b", 0},
		{"proxy", "r", "b", 0},
	} {
		if got := findDeclarations([]byte(config)).line(test.kind, test.proxy, test.server); got != test.want {
			t.Errorf("%v: line %d", test, got)
		}
	}
}

// A place is in one of the files that were checked, whatever the check prints.
func FuzzPlaces(f *testing.F) {
	const config = "global\n\nfrontend x\n bind :1\nbackend x\n server a h:1\nlisten y\n server b h:3\n"
	for _, output := range []string{
		"[ALERT]    (15110) : config : parsing [/etc/lb/haproxy.cfg:3] : unknown keyword 'bogus' in 'frontend' section.\n",
		"[ALERT] 325/140250 (15110) : Proxy 'x': unable to find required default_backend: 'nope'.\n",
		"[NOTICE]   (1) : haproxy version is 2.6.12\n[ALERT]    (1) : backend 'x', server 'a': no\n",
		"[ALERT]    (1) : config : Parsing [/etc/lb/haproxy.cfg:5]: backend 'x' has the same name as frontend 'x' declared at \n",
		"[ALERT]    (1) : config : Fatal errors found in configuration.\n",
		"[ALERT]    (1) : [/etc/lb/a.lst:99999999999999999999] : x\n[ALERT", "config: backend 'y': server 'b' has neither\r\n",
	} {
		f.Add(output, config)
	}
	f.Fuzz(func(t *testing.T, output, config string) {
		files := []stage.File{
			{Path: "/etc/lb/haproxy.cfg", Name: "main", Content: []byte(config)}, {Path: "/etc/lb/a.lst", Name: "a.lst"},
		}
		alerts := Alerts(output)
		for _, place := range Places(files, alerts) {
			known := slices.ContainsFunc(files, func(f stage.File) bool { return f.Path == place.Path && f.Name == place.File })
			if !known || place.Line < 0 || strings.Contains(place.Problem, "\n") {
				t.Errorf("%q has the place %+v", output, place)
			}
		}
	})
}
