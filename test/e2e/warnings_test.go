package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// refuseWarnings puts a HAProxy first in PATH that refuses, in a check and at a start, what it would only warn of otherwise.
func failOnWarnings(t *testing.T) {
	t.Helper()
	needHAProxy(t)
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec %q -dW \"$@\"\n", program)
	if err := os.WriteFile(folder+"/haproxy", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

// HAProxy runs and reloads what the built-in template renders without a warning, with the base file and the arguments that the
// sink starts it with.
func TestBuiltinTemplate_NoHAProxyWarnings(t *testing.T) {
	for name, settings := range map[string][]string{
		"defaults":       nil,
		"without master": {`mode = "command"`},
		"with a user":    {`user = "root"`, `group = "root"`},
	} {
		t.Run(name, func(t *testing.T) {
			failOnWarnings(t)
			t.Setenv("TEST_HAPROXY", "") // the one in PATH
			env := newTestEnv(t, settings...)
			env.startInstance("web", "a", 8000)
			env.start()
			env.waitAnswer(8000, "a")
			env.startInstance("api", "b", 8001)
			env.waitAnswer(8001, "b")
			if env.fact("reloads") != 1 {
				t.Errorf("%d reloads, want one for the new service", env.fact("reloads"))
			}
			env.eventually("healthy", env.healthy)
		})
	}
}
