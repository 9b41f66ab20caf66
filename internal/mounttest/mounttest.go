//go:build linux

// Package mounttest lets tests mount file systems in a mount namespace of their own.
package mounttest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// inside is the environment variable with the name of the test that runs in a mount namespace of its own.
const inside = "TEST_MOUNT_NAMESPACE"

// Run reports whether the process has a mount namespace of its own. A test calls it first. If it returns false, it has run the
// test in another process that has one, and failed if that failed; the test must return then. All mounts end with that process.
// Root permissions are not needed if the system allows user namespaces.
func Run(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		return true
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool {
		return strings.HasPrefix(arg, "-test.") && !strings.HasPrefix(arg, "-test.timeout")
	})
	args = slices.Insert(args, 0, "-test.v", "-test.count=1", "-test.run=^"+regexp.QuoteMeta(t.Name())+"$")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...) //nolint:gosec // the test itself
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	// The kernel sends Pdeathsig when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("in a mount namespace:\n%s", out)
	if err != nil {
		t.Fatalf("in a mount namespace: %v", err)
	}
	return false
}

// Bind makes the file or directory at path a mount point with its content, until unmount is called or the process ends.
func Bind(t testing.TB, path string) (unmount func()) {
	t.Helper()
	return mount(t, path, path, "", syscall.MS_BIND, "")
}

// Disk mounts an empty file system of that size, for example 256k, on the directory.
func Disk(t testing.TB, directory, size string) (unmount func()) {
	t.Helper()
	return mount(t, "tmpfs", directory, "tmpfs", 0, "size="+size)
}

// ReadOnly makes the directory a read-only mount point. Mount points in it remain writable.
func ReadOnly(t testing.TB, directory string) (unmount func()) {
	t.Helper()
	unmount = mount(t, directory, directory, "", syscall.MS_BIND|syscall.MS_REC, "")
	if err := syscall.Mount("", directory, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatalf("making %s read-only: %v", directory, err)
	}
	return unmount
}

func mount(t testing.TB, source, target, kind string, flags uintptr, data string) func() {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Fatal("call mounttest.Run first")
	}
	if err := syscall.Mount(source, target, kind, flags, data); err != nil {
		t.Fatalf("mounting %s: %v", target, err)
	}
	return func() {
		t.Helper()
		if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("unmounting %s: %v", target, err)
		}
	}
}
