//go:build linux

package debian_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRPM installs the files of the rpm package in an empty root. Its scripts need programs of a distribution and are not run.
func TestRPM(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	root := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "rpm", "--root", root, "--install", "--nodeps", "--noscripts", "--ignorearch",
		buildPackage(t, firstVersion, "rpm"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, mode := range map[string]os.FileMode{
		"usr/bin/haproxy-api": 0o755, "usr/lib/systemd/system/haproxy-api.service": 0o644,
		"etc/haproxy-api/haproxy-api.toml": 0o644, "usr/share/haproxy-api/templates/haproxy.cfg": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	for _, script := range []string{"preinstall", "postinstall", "preremove", "postremove"} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", "../../packaging/rpm/"+script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), "rpm", "--root", root, "--query", "--configfiles", "haproxy-api").Output()
	if want := "/etc/haproxy-api/haproxy-api.toml\n"; err != nil || string(out) != want {
		t.Errorf("configuration files %q, %v", out, err)
	}
}
