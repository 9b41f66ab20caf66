//go:build linux

// Package debiantest lets tests use a minimal Debian 12 of their own, with systemd as process 1 if they boot it.
package debiantest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is a Debian in a directory. Its processes see that directory as their root.
type Machine struct {
	// Root is the directory of the machine's files.
	Root string

	leader int           // the pid of its process 1 as this process sees it; 0 if the machine is not booted
	nspawn *os.Process   // systemd-nspawn; nil if the machine is not booted
	ended  chan struct{} // closed when nspawn has ended
	cgroup string        // of a booted machine
}

// New returns a machine with the given Debian packages in addition to those of debootstrap's variant minbase. The machine does
// not run yet. What the test changes in it is discarded when the test ends. The installed packages are kept in .debian for the
// next test that needs the same ones.
//
// A test that cannot have a machine, because it does not run as root or because a program is missing, is skipped; in continuous
// integration, where the environment variable CI is true, it fails.
func New(t testing.TB, packages ...string) *Machine {
	t.Helper()
	need(t)
	tree := install(t, packages)
	// Not t.TempDir: in a container that is an overlay, which cannot be the upper layer of another one.
	dir, err := os.MkdirTemp(filepath.Dir(tree), "machine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := &Machine{Root: filepath.Join(dir, "root")}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", tree, filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	if err := unix.Mount("overlay", m.Root, "overlay", 0, options); err != nil {
		t.Fatalf("mounting an overlay over %s with the changes in %s: %v", tree, dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(m.Root, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", m.Root, err)
		}
	})
	// Debian's installer creates this file, and debootstrap does not.
	if err := os.WriteFile(filepath.Join(m.Root, "etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return m
}

// need skips the test if it cannot have a machine. In continuous integration it fails the test.
func need(t testing.TB) {
	t.Helper()
	var problem error
	if os.Geteuid() != 0 {
		problem = errors.New("a Debian machine needs root")
	}
	for _, program := range []string{"debootstrap", "systemd-nspawn", "nsenter"} {
		_, err := exec.LookPath(program)
		problem = errors.Join(problem, err)
	}
	if problem == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(problem)
	}
	t.Skip(problem)
}

// install returns the directory of an installed Debian with the packages. Tests must not change it.
func install(t testing.TB, packages []string) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/haproxy-api/haproxy-api")
	root, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	repository := strings.TrimSpace(string(root))
	digest := sha256.Sum256([]byte(strings.Join(packages, " ")))
	dir := filepath.Join(repository, ".debian", fmt.Sprintf("bookworm-%x", digest[:6]))
	cmd := exec.CommandContext(t.Context(), filepath.Join(repository, "scripts/debian-tree"),
		append([]string{dir}, packages...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return dir
}

// bootLimit is how long a machine may take to boot, and to power off, while other tests use the processors.
const bootLimit = 3 * time.Minute

// Boot starts systemd as process 1 and waits until the system is up, that is until multi-user.target is reached. The machine
// needs the packages systemd, systemd-sysv and dbus. It has a network of its own that consists of the loopback interface only. It
// is powered off when the test ends.
func (m *Machine) Boot(t testing.TB) {
	t.Helper()
	m.powerOn(t)
	t.Cleanup(func() { m.powerOff(t) })
}

// Reboot powers a booted machine off and boots it again.
func (m *Machine) Reboot(t testing.TB) {
	t.Helper()
	m.powerOff(t)
	m.powerOn(t)
}

func (m *Machine) powerOn(t testing.TB) {
	t.Helper()
	cmd := exec.Command("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network",
		"--directory="+m.Root)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	var err error
	if m.cgroup, err = newCgroup(); err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.Open(m.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer cgroup.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.nspawn, m.ended = cmd.Process, make(chan struct{})
	go func() {
		defer close(m.ended)
		_ = cmd.Wait() // by powerOff
	}()
	deadline := time.Now().Add(bootLimit)
	for time.Now().Before(deadline) {
		if m.leader = child(cmd.Process.Pid); m.leader != 0 {
			if _, err := m.Run(t.Context(), "systemctl is-active --quiet multi-user.target"); err == nil {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, err := m.Run(t.Context(), "systemctl list-jobs --no-pager; systemctl --failed --no-pager")
	m.powerOff(t)
	t.Fatalf("the machine is not up: %v\n%s\n%s", err, out, console.String())
}

func (m *Machine) powerOff(t testing.TB) {
	t.Helper()
	if m.nspawn == nil {
		return
	}
	if err := m.nspawn.Signal(syscall.SIGTERM); err != nil { // powers the machine off
		t.Error(err)
	}
	select {
	case <-m.ended:
	case <-time.After(bootLimit):
		t.Errorf("the machine did not power off; killing it: %v", m.nspawn.Kill())
		<-m.ended
	}
	m.nspawn, m.leader = nil, 0
	if err := removeCgroup(m.cgroup); err != nil {
		t.Error(err)
	}
}

// child returns the pid of a child process, or 0.
func child(parent int) int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	first, _, _ := strings.Cut(string(content), " ")
	pid, _ := strconv.Atoi(first)
	return pid
}

// Run runs a bash script as root in the machine, which stops at the first command that fails, and returns what it writes. In a
// machine that is not booted the script has this machine's network, and its processes end with it.
func (m *Machine) Run(ctx context.Context, script string) (string, error) {
	cmd := m.Command(ctx, "bash", "-euo", "pipefail", "-c", script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Command returns a command that runs as root in the machine.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	var prefix []string
	if m.leader != 0 {
		prefix = []string{"nsenter", "--target", strconv.Itoa(m.leader), "--all", "env", "-i", "--chdir=/"}
	} else {
		prefix = []string{"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe",
			"--directory=" + m.Root, "env", "-i"}
	}
	args = append(append(prefix, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"LANG=C.UTF-8", "TERM=dumb"), args...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// MustRun is Run for a script that must succeed.
func (m *Machine) MustRun(t testing.TB, script string) string {
	t.Helper()
	out, err := m.Run(t.Context(), script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// Copy copies the file at from to the path to in the machine, and creates its directory.
func (m *Machine) Copy(t testing.TB, from, to string) {
	t.Helper()
	target := filepath.Join(m.Root, to)
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, content, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}
