//go:build linux

package debiantest

import (
	"strings"
	"testing"
)

// packages are those of the machines of other tests, so that one tree is installed for all.
var packages = []string{"systemd", "systemd-sysv", "dbus", "haproxy", "ca-certificates", "curl"}

// TestMachine_Boot checks that a machine boots, runs commands in namespaces of its own, and powers off.
func TestMachine_Boot(t *testing.T) {
	m := New(t, packages...)
	if out := m.MustRun(t, "cat /etc/debian_version"); !strings.HasPrefix(out, "12.") {
		t.Errorf("version %q", out)
	}
	m.Boot(t)
	if out := m.MustRun(t, "cat /proc/1/comm"); out != "systemd\n" {
		t.Errorf("process 1 is %q", out)
	}
	if _, err := m.Run(t.Context(), "false; true"); err == nil {
		t.Error("a failing script succeeded")
	}
	if out := m.MustRun(t, "tail -n +3 /proc/net/dev"); !strings.Contains(out, "lo:") || strings.Count(out, "\n") != 1 {
		t.Errorf("interfaces:\n%s", out)
	}
}

// TestMachine_Boot_Two checks that the services of two machines do not have each other's processes.
func TestMachine_Boot_Two(t *testing.T) {
	var machines []*Machine
	for range 2 {
		m := New(t, packages...)
		m.Boot(t)
		machines = append(machines, m)
	}
	for _, m := range machines {
		cgroup := strings.TrimSpace(m.MustRun(t, "systemctl show --value --property=ControlGroup dbus"))
		procs := m.MustRun(t, "cd /sys/fs/cgroup && cat $([ -e cgroup.procs ] || echo unified/)."+cgroup+"/cgroup.procs")
		if main := m.MustRun(t, "systemctl show --value --property=MainPID dbus"); procs != main {
			t.Errorf("the processes of dbus.service are %q, its main process is %q", procs, main)
		}
	}
}
