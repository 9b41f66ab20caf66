package process

import (
	"strings"
	"testing"
)

func TestParseReload(t *testing.T) {
	for _, test := range []struct {
		answer string
		want   reloadStatus
		log    string
	}{
		{"", reloadUnknown, ""},
		{"\n", reloadUnknown, ""},
		{"Succ", reloadUnknown, ""},
		{"Success=1\n--\n[NOTICE]   (27571) : New worker (27628) forked\n", reloadSucceeded, ""},
		{"Success=0\n--\n[NOTICE] (1) : x\n[ALERT]    (27571) : config : parsing [a:1] : no\n", reloadFailed,
			"[ALERT]    (27571) : config : parsing [a:1] : no"},
		{"Success=0\n--\nAnother reload is still in progress.\n", reloadInProgress, ""},
	} {
		status, log := parseReload(test.answer)
		if status != test.want || strings.Join(log, "|") != test.log {
			t.Errorf("%q: %v, %q", test.answer, status, log)
		}
	}
}

func FuzzParseReload(f *testing.F) {
	for _, answer := range []string{
		"Success=1\n--\n[NOTICE]   (1) : New worker (2) forked\n", "Success=0\n--\n[ALERT]    (1) : no\n", "",
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		status, lines := parseReload(answer)
		if status == reloadUnknown && lines != nil {
			t.Errorf("the status of %q is unknown, but the log is %q", answer, lines)
		}
		for _, line := range lines {
			if strings.Contains(line, "\n") {
				t.Errorf("%q has the line %q", answer, line)
			}
		}
	})
}
