package runtimeapi

import (
	"fmt"
	"strings"
	"testing"
)

func TestInfo_ServedBy(t *testing.T) {
	i := ParseInfo("Name: HAProxy\nPid: 23019\nUptime: 0d 0h00m03s\nStopping: 0\n")
	if !i.ServedBy(23019) || i.ServedBy(23018) {
		t.Error("the worker that answers is not known by its pid")
	}
	if ParseInfo("Pid: 23019\nStopping: 1\n").ServedBy(23019) {
		t.Error("a worker that is leaving is taken for one that serves")
	}
	if ParseInfo("Can't find the target PID matching the prefix '@!23019'\n").ServedBy(23019) {
		t.Error("a refusal is taken for an answer")
	}
}

func TestParseVersion(t *testing.T) {
	for version, want := range map[string]string{
		"2.6.12-1+deb12u4": "2.6", "3.0.11-1+deb13u5": "3.0", "2.4.0": "2.4", "2.10-dev3": "2.10", "1.8": "1.8", "3.1-dev": "3.1",
		"": "0.0", "unknown": "0.0", "3": "0.0",
	} {
		major, minor := ParseVersion(version)
		if got := fmt.Sprintf("%d.%d", major, minor); got != want {
			t.Errorf("%q is %s, want %s", version, got, want)
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, answer := range []string{
		"Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 23019\nStopping: 0\n", "Pid:1\nPid:2:3\n: \n", "3.0-dev1", "2.x",
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		for name, value := range ParseInfo(answer) {
			if strings.Contains(name+value, "\n") {
				t.Errorf("%q has %q: %q", answer, name, value)
			}
		}
		ParseVersion(answer)
	})
}
