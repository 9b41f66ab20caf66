package runtimeapi

import "testing"

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
