//go:build linux

package debian_test

import (
	"fmt"
	"strings"
	"testing"
)

// asRoot is the drop-in of docs/install.md for templates that need root, with the configuration file of haproxy.service.
const asRoot = `mkdir -p /etc/systemd/system/haproxy-api.service.d /etc/systemd/system/haproxy.service.d
cat >/etc/systemd/system/haproxy-api.service.d/root.conf <<'END'
[Service]
User=root
Group=root
AmbientCapabilities=
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_NET_RAW CAP_SETUID CAP_SETGID CAP_SYS_CHROOT CAP_KILL
CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_SYS_RESOURCE CAP_SYS_PTRACE
SystemCallFilter=chroot
ReadWritePaths=/etc/haproxy
END
printf '[Service]\nRestart=no\n' >/etc/systemd/system/haproxy.service.d/no-restart.conf
systemctl daemon-reload
sed -i 's|^config_file .*|config_file = "/etc/haproxy/haproxy.cfg"\nuser = "haproxy"\ngroup = "haproxy"|' \
	/etc/haproxy-api/haproxy-api.toml
`

// newTakeover returns a machine whose haproxy.service serves port 80, and which has haproxy-api without a first snapshot.
func newTakeover(t *testing.T) *service {
	t.Helper()
	s := newService(t)
	s.boot(t)
	s.serveInstance(t, 9001)
	s.MustRun(t, `cat >>/etc/haproxy/haproxy.cfg <<'END'
listen web
	bind :80
	server one 127.0.0.1:9001
END
[ -x /bin/kill ] || { printf '#!/bin/sh\nkill "$@"\n' >/bin/kill && chmod 755 /bin/kill; } # for haproxy.service; in procps
systemctl restart haproxy`)
	install(t, s)
	s.waitAnswer(t, 80, "9001")
	return s
}

// TestService_TakesOverTheDistributionsHAProxy follows docs/install.md, under load.
func TestService_TakesOverTheDistributionsHAProxy(t *testing.T) {
	s := newTakeover(t)
	load := s.startLoad(t, 80)
	s.MustRun(t, asRoot+"systemctl stop haproxy-api && systemctl --no-block start haproxy-api")
	s.push(t, "web", 9001, 80)
	s.waitShow(t, "ActiveState", "active")
	s.eventually(t, "the unit's HAProxy has ended", func() bool { return s.show(t, "haproxy", "MainPID") == "0" })
	load.wantNoFailures(t)
	if running := s.haproxies(t); len(running) != 2 {
		t.Errorf("processes of HAProxy:\n%s", strings.Join(running, "\n"))
	}
	if user := s.MustRun(t, fmt.Sprintf("stat -c %%U /proc/%d", s.master(t))); user != "root\n" {
		t.Errorf("HAProxy's master runs as %q", user)
	}
}

// TestService_ReloadsTheDistributionsHAProxy leaves HAProxy to systemd, under load.
func TestService_ReloadsTheDistributionsHAProxy(t *testing.T) {
	s := newTakeover(t)
	load, master := s.startLoad(t, 80), s.show(t, "haproxy", "MainPID")
	s.MustRun(t, asRoot+`sed -i 's|^pid_file .*|pid_file = "/run/haproxy.pid"\nreload_cmd = "systemctl reload haproxy"|' `+
		`/etc/haproxy-api/haproxy-api.toml
sed -i 's|^ReadWritePaths=.*|ReadWritePaths=/etc/haproxy /run|' /etc/systemd/system/haproxy-api.service.d/root.conf
systemctl daemon-reload
systemctl stop haproxy-api && systemctl --no-block start haproxy-api`)
	s.push(t, "web", 9001, 80)
	s.waitShow(t, "ActiveState", "active")
	s.MustRun(t, "grep -q web-80-in /etc/haproxy/haproxy.cfg")
	s.waitAnswer(t, 80, "9001")
	load.wantNoFailures(t)
	if now := s.show(t, "haproxy", "MainPID"); now != master {
		t.Errorf("HAProxy's master is %s, before %s", now, master)
	}
}

// haproxies returns the command lines of the processes of HAProxy.
func (s *service) haproxies(t *testing.T) []string {
	t.Helper()
	const list = `for p in /proc/[0-9]*; do
	[ "$(cat $p/comm 2>/dev/null)" != haproxy ] || { tr '\0' ' ' <$p/cmdline && echo; }
done`
	return strings.Split(strings.TrimSpace(s.MustRun(t, list)), "\n")
}
