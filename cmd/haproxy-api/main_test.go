package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the command haproxy-api out of the test binary: scripts and tests run it as a process of its own.
func TestMain(m *testing.M) {
	// The race detector keeps a program for a second at its end, which here would pass for a program that lingers.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(withHAProxy{m}, map[string]func(){
		"haproxy-api": main, "stubborn-plugin": stubborn, "inherit-orphans": inheritOrphans, "troubled-plugin": troubled,
	})
}

// withHAProxy sees to it that "haproxy" is found: the one in TEST_HAPROXY, or the system's.
type withHAProxy struct{ testscript.TestingM }

func (m withHAProxy) Run() int {
	folders := []string{os.Getenv("PATH"), "/usr/sbin", "/sbin"}
	if program := os.Getenv("TEST_HAPROXY"); program != "" {
		folders = slices.Insert(folders, 0, filepath.Dir(program))
	}
	_ = os.Setenv("PATH", strings.Join(folders, ":"))
	return m.TestingM.Run()
}

// TestScript runs the command line as people do. Each script has an address of its own on loopback in $IP.
func TestScript(t *testing.T) {
	needHAProxy(t)
	program, err := exec.LookPath("haproxy-api")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("IP", freshIP())
			env.Setenv("BIN", filepath.Dir(program))
			// A script's own folder may be too deep for the path of a unix socket.
			run, err := os.MkdirTemp("", "ha")
			if err != nil {
				return err
			}
			env.Setenv("RUN", run)
			env.Defer(func() {
				stopLeftHAProxy(run)
				_ = os.RemoveAll(run)
			})
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "sidecar": startSidecar, "occupy": occupy},
	})
}

// needHAProxy fails where there is no HAProxy: a test that passes without one would prove nothing.
func needHAProxy(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatal("HAProxy is not installed: run 'make test', which installs it")
	}
}
