package haproxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// What a check prints must not name a place outside the files that were checked.
func FuzzAlerts(f *testing.F) {
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
		alerts := linesOf("ALERT", output)
		for _, place := range alertPlaces(files, alerts) {
			known := slices.ContainsFunc(files, func(f stage.File) bool { return f.Path == place.Path && f.Name == place.File })
			if !known || place.Line < 0 || strings.Contains(place.Problem, "\n") {
				t.Errorf("%q has the place %+v", output, place)
			}
		}
	})
}

func FuzzParseAnswers(f *testing.F) {
	for _, answer := range []string{
		"Success=1\n--\n[NOTICE]   (1) : New worker (2) forked\n", "Success=0\n--\n[ALERT]    (1) : no\n", "",
		"Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 23019\nStopping: 0\n", "Pid:1\nPid:2:3\n: \n", "3.0-dev1", "2.x",
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		said, lines := parseReload(answer)
		if said == unsaid && lines != nil {
			t.Errorf("%q says nothing, but %q", answer, lines)
		}
		for _, line := range lines {
			if strings.Contains(line, "\n") {
				t.Errorf("%q has the line %q", answer, line)
			}
		}
		for name, value := range runtimeapi.ParseInfo(answer) {
			if strings.Contains(name+value, "\n") {
				t.Errorf("%q has %q: %q", answer, name, value)
			}
		}
		runtimeapi.ParseVersion(answer)
	})
}
