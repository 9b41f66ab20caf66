// Package e2e_test tests the haproxy-api binary with real processes: HAProxy, plugins and a Sidecar.
//
// TestMain builds the binary once, with the race detector if the tests have it. TEST_HAPROXY_API names a binary to test instead,
// and TEST_HAPROXY the HAProxy to test with.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain puts the programs that tests run into PATH: haproxy-api, HAProxy, and two plugins that this test binary implements.
func TestMain(m *testing.M) {
	// By default, a program with the race detector takes a second to exit, which tests of the shutdown would mistake for a delay.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	syscall.Umask(0o022) // some tests read files as another user
	testscript.Main(binaries{m}, map[string]func(){"unresponsive-plugin": unresponsivePlugin, "faulty-plugin": faultyPlugin})
}

// binaries runs the tests with the programs in PATH.
type binaries struct{ testscript.TestingM }

func (m binaries) Run() int {
	remove, err := provideBinaries()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	return m.TestingM.Run()
}

const testedBinary = "TEST_HAPROXY_API"

func provideBinaries() (remove func(), err error) {
	remove = func() {}
	if os.Getenv(testedBinary) == "" && !isFuzzWorker() {
		directory, err := os.MkdirTemp("", "haproxy-api")
		if err != nil {
			return nil, err
		}
		remove = func() { _ = os.RemoveAll(directory) }
		if err := os.Chmod(directory, 0o755); err != nil { // some tests run the binary as another user
			return remove, err
		}
		binary := filepath.Join(directory, "haproxy-api")
		if err := build(binary, raceEnabled); err != nil {
			remove()
			return nil, err
		}
		// Tests that mounttest.Run runs again in another process use the same binary.
		_ = os.Setenv(testedBinary, binary)
	}
	path := []string{filepath.Dir(os.Getenv(testedBinary)), os.Getenv("PATH"), "/usr/sbin", "/sbin"}
	if program := os.Getenv("TEST_HAPROXY"); program != "" {
		path = slices.Insert(path, 0, filepath.Dir(program))
	}
	return remove, os.Setenv("PATH", strings.Join(path, ":"))
}

// build builds haproxy-api into the file binary.
func build(binary string, race bool) error {
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/haproxy-api/haproxy-api/cmd/haproxy-api")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building haproxy-api: %w\n%s", err, out)
	}
	return nil
}

// isFuzzWorker reports whether this is one of the processes that run a fuzz target.
func isFuzzWorker() bool {
	return slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzzworker") })
}

// needHAProxy fails the test if HAProxy is not installed: a test that passes without it would prove nothing.
func needHAProxy(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatal("HAProxy is not installed: run 'make test', which installs it")
	}
}
