package haproxy

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

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
