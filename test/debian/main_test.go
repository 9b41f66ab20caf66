//go:build linux

// Package debian_test installs the Debian package in a Debian with systemd, and takes it through its life: install, reload,
// upgrade, reboot, removal.
package debian_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// The versions of the two packages.
const (
	firstVersion  = "1.0.0"
	secondVersion = "1.1.0"
)

// distDirectory has a directory with the packages of each version.
var distDirectory string

func TestMain(m *testing.M) {
	var err error
	if distDirectory, err = os.MkdirTemp("", "haproxy-api-dist-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(distDirectory)
	os.Exit(code)
}

var buildPackages = sync.OnceValue(func() error {
	for _, version := range []string{firstVersion, secondVersion} {
		cmd := exec.Command("../../scripts/dist", filepath.Join(distDirectory, version), "linux/"+runtime.GOARCH)
		cmd.Env = append(os.Environ(), "VERSION="+version)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building the packages of %s: %w\n%s", version, err, out)
		}
	}
	return nil
})

// buildPackage returns the path of a package that scripts/dist has built, which extension says.
func buildPackage(t *testing.T, version, extension string) string {
	t.Helper()
	if err := buildPackages(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(distDirectory, version, fmt.Sprintf("haproxy-api_%s_linux_%s.%s", version, runtime.GOARCH, extension))
}
