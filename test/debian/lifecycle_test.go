//go:build linux

package debian_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
)

const waiting = "waiting for the first snapshot of sidecar"

// TestPackage_Lifecycle is one life of the package. Each step needs the previous ones.
func TestPackage_Lifecycle(t *testing.T) {
	s := newService(t)
	s.boot(t)
	before, accounts := s.files(t), s.MustRun(t, "cat /etc/passwd /etc/group")
	for _, step := range []struct {
		name string
		run  func(t *testing.T, s *service)
	}{
		{"install", install},
		{"boot before the first push", bootWaiting},
		{"first push", firstPush},
		{"isolation", isolation},
		{"reload", reload},
		{"template", template},
		{"watchdog", watchdog},
		{"upgrade", func(t *testing.T, s *service) { replaceVersion(t, s, secondVersion) }},
		{"downgrade", func(t *testing.T, s *service) { replaceVersion(t, s, firstVersion) }},
		{"reboot", reboot},
		{"remove", remove},
		{"install again", installAgain},
		{"purge", func(t *testing.T, s *service) { purge(t, s, before, accounts) }},
		{"policy", policy},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, s) }) {
			return
		}
	}
}

func apt(arguments string) string {
	return "DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 " + arguments
}

// install does not wait for the service, which is not ready before the first push.
func install(t *testing.T, s *service) {
	distribution := s.show(t, "haproxy", "MainPID")
	s.MustRun(t, apt("install /root/"+firstVersion+".deb"))
	s.waitShow(t, "StatusText", waiting)
	s.wantShow(t, map[string]string{"ActiveState": "activating", "SubState": "start", "UnitFileState": "enabled"})
	if pid := s.show(t, "haproxy", "MainPID"); pid != distribution || pid == "0" {
		t.Errorf("the distribution's HAProxy is %s, before %s", pid, distribution)
	}
}

// bootWaiting boots a machine whose registry sends nothing. Reboot returns when multi-user.target is reached.
func bootWaiting(t *testing.T, s *service) {
	s.Reboot(t)
	s.waitShow(t, "StatusText", waiting)
	s.wantShow(t, map[string]string{"ActiveState": "activating"})
}

func firstPush(t *testing.T, s *service) {
	s.serveInstance(t, 9001)
	s.serveInstance(t, 9002)
	s.push(t, "web", 9001, 80)
	s.waitAnswer(t, 80, "9001")
	s.serve(t, 7777, s.sidecar) // for [sidecar] state_url
	s.waitShow(t, "ActiveState", "active")
}

// isolation checks what HAProxy inherits from the service.
func isolation(t *testing.T, s *service) {
	master := s.master(t)
	process := s.MustRun(t, fmt.Sprintf("cat /proc/%d/status", master))
	for _, want := range []string{`CapEff:\s0000000000000400`, `CapBnd:\s0000000000000400`, `NoNewPrivs:\s1`, `Seccomp:\s2`} {
		if !regexp.MustCompile(want).MatchString(process) {
			t.Errorf("no %s in\n%s", want, process)
		}
	}
	if user := s.MustRun(t, fmt.Sprintf("stat -c %%U /proc/%d", master)); user != "haproxy-api\n" {
		t.Errorf("HAProxy runs as %q", user)
	}
	if rating := s.MustRun(t, "systemd-analyze security --no-pager haproxy-api"); !strings.Contains(rating, ": 2.0 OK") {
		t.Errorf("docs/install.md and systemd rate the unit differently:\n%s", rating)
	}
	for variable := range strings.SplitSeq(s.MustRun(t, fmt.Sprintf("cat /proc/%d/environ", master)), "\x00") {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}, name) {
			t.Errorf("HAProxy has %s", variable)
		}
	}
}

// builtin is the template that the package installs for users who want to change it.
const builtin = "/usr/share/haproxy-api/templates/haproxy.cfg"

func reload(t *testing.T, s *service) {
	before := s.show(t, "haproxy-api", "MainPID")
	s.MustRun(t, "cp "+builtin+" /etc/haproxy-api/haproxy.cfg.tmpl")
	s.MustRun(t, `sed -i 's/^# template = /template = /; s/^\[sidecar\]$/[sidecar]\nresync_interval = "2s"/' `+
		`/etc/haproxy-api/haproxy-api.toml && systemctl reload haproxy-api`)
	s.eventually(t, "the template is used", func() bool {
		st := s.status()
		return len(st.Pipelines) == 1 && slices.Equal(st.Pipelines[0].Templates, []string{"/etc/haproxy-api/haproxy.cfg.tmpl"})
	})
	s.waitShow(t, "ActiveState", "active")
	s.waitShow(t, "StatusText", "healthy: 1 service, 1 instance") // the state was fetched at state_url
	if after := s.show(t, "haproxy-api", "MainPID"); after != before {
		t.Errorf("the daemon was restarted: %s, before %s", after, before)
	}
}

// edited reports whether answers have the header that an edit of the template sets.
func (s *service) edited(value string) bool {
	resp, _, err := s.get("http://127.0.0.1:80/")
	return err == nil && resp.Header.Get("X-Edited") == value
}

// template saves a good template, a bad one, and a good one again.
func template(t *testing.T, s *service) {
	daemon, load := s.show(t, "haproxy-api", "MainPID"), s.startLoad(t, 80)
	s.MustRun(t, `sed -i 's/^\tdefault_backend .*/\thttp-response set-header X-Edited one\n&/' /etc/haproxy-api/haproxy.cfg.tmpl`)
	s.eventually(t, "the first edit is live", func() bool { return s.edited("one") })
	s.MustRun(t, `cp /etc/haproxy-api/haproxy.cfg.tmpl /root/good && echo '{{ end }}' >>/etc/haproxy-api/haproxy.cfg.tmpl`)
	s.waitShowFunc(t, "StatusText", "the bad template", func(text string) bool {
		return strings.HasPrefix(text, "unhealthy: ") && strings.Contains(text, "/etc/haproxy-api/haproxy.cfg.tmpl:")
	})
	if !s.edited("one") {
		t.Error("the template before the bad one is not in use")
	}
	s.MustRun(t, `sed 's/X-Edited one/X-Edited two/' /root/good >/etc/haproxy-api/haproxy.cfg.tmpl`)
	s.eventually(t, "the second edit is live", func() bool { return s.edited("two") })
	s.waitShow(t, "StatusText", "healthy: 1 service, 1 instance")
	load.wantNoFailures(t)
	if pid := s.show(t, "haproxy-api", "MainPID"); pid != daemon {
		t.Errorf("the daemon was restarted: %s, before %s", pid, daemon)
	}
}

// watchdog stops the daemon's process, so that it answers nothing.
func watchdog(t *testing.T, s *service) {
	s.MustRun(t, `mkdir -p /etc/systemd/system/haproxy-api.service.d
printf '[Service]\nWatchdogSec=5\n' >/etc/systemd/system/haproxy-api.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart haproxy-api`)
	master, daemon, load := s.master(t), s.show(t, "haproxy-api", "MainPID"), s.startLoad(t, 80)
	s.MustRun(t, "kill -STOP "+daemon)
	s.eventually(t, "another daemon runs", func() bool {
		pid := s.show(t, "haproxy-api", "MainPID")
		return pid != daemon && pid != "0" && s.show(t, "haproxy-api", "ActiveState") == "active"
	})
	if log := s.MustRun(t, "journalctl --no-pager -u haproxy-api"); !strings.Contains(log, "Watchdog timeout") {
		t.Errorf("systemd did not restart the daemon because of the watchdog:\n%s", log)
	}
	s.push(t, "web", 9002, 80) // the new daemon controls HAProxy
	s.waitAnswer(t, 80, "9002")
	load.wantNoFailures(t)
	if now := s.master(t); now != master {
		t.Errorf("HAProxy's master is %d, before %d", now, master)
	}
	s.MustRun(t, "rm -r /etc/systemd/system/haproxy-api.service.d && systemctl daemon-reload && systemctl restart haproxy-api")
}

// replaceVersion installs another version under load.
func replaceVersion(t *testing.T, s *service, version string) {
	master, daemon, load := s.master(t), s.show(t, "haproxy-api", "MainPID"), s.startLoad(t, 80)
	out := s.MustRun(t, apt("install --allow-downgrades /root/"+version+".deb"))
	s.eventually(t, "the version runs", func() bool {
		return s.status().Version == version && s.show(t, "haproxy-api", "ActiveState") == "active"
	})
	s.waitShow(t, "StatusText", "healthy: 1 service, 2 instances")
	// HAProxy, which an earlier daemon has started, reloads what this daemon writes.
	s.MustRun(t, "sed -i 's/X-Edited .*/X-Edited "+version+"/' /etc/haproxy-api/haproxy.cfg.tmpl")
	s.eventually(t, "the edit is live", func() bool { return s.edited(version) })
	load.wantNoFailures(t)
	if now := s.master(t); now != master {
		t.Errorf("HAProxy's master is %d, before %d", now, master)
	}
	if now := s.show(t, "haproxy-api", "MainPID"); now == daemon {
		t.Errorf("the daemon was not restarted:\n%s", out)
	}
	if config := s.MustRun(t, "cat /etc/haproxy-api/haproxy-api.toml"); !strings.Contains(config, "\ntemplate = ") {
		t.Errorf("the configuration was replaced:\n%s", config)
	}
}

// reboot serves the last good state before any push.
func reboot(t *testing.T, s *service) {
	s.Reboot(t)
	s.serveInstance(t, 9001)
	s.serveInstance(t, 9002)
	s.waitAnswer(t, 80, "9001")
	s.waitShow(t, "ActiveState", "active")
	s.eventually(t, "degraded, because the state is of an earlier run", func() bool { return s.status().State == "degraded" })
}

func remove(t *testing.T, s *service) {
	master := s.master(t)
	s.MustRun(t, apt("remove haproxy-api"))
	s.wantShow(t, map[string]string{"LoadState": "not-found", "ActiveState": "inactive"})
	s.waitAnswer(t, 80, "9001")
	if now := s.master(t); now != master {
		t.Errorf("HAProxy's master is %d, before %d", now, master)
	}
	s.MustRun(t, "test -f /etc/haproxy-api/haproxy-api.toml && test -d /var/lib/haproxy-api/state")
}

// installAgain starts the service, because the removal has stopped it. It is not an upgrade, although dpkg names the earlier
// version.
func installAgain(t *testing.T, s *service) {
	master, load := s.master(t), s.startLoad(t, 80)
	s.MustRun(t, apt("install /root/"+firstVersion+".deb"))
	s.waitShow(t, "ActiveState", "active")
	load.wantNoFailures(t)
	if now := s.master(t); now != master {
		t.Errorf("HAProxy's master is %d, before %d", now, master)
	}
	s.MustRun(t, "systemctl stop haproxy-api && "+apt("install --reinstall /root/"+firstVersion+".deb"))
	s.wantShow(t, map[string]string{"ActiveState": "inactive"})
}

// mayDiffer are the files that may differ after the package was installed and purged: logs of apt, backups of the files with
// users and groups, and directories that systemd names anew at each boot.
var mayDiffer = regexp.MustCompile(`^. \d+ \S+ \S+ (/var/log/apt(/.*)?|/etc/(passwd|shadow|group|gshadow)-|` +
	`/var/tmp/systemd-private-.*)$`)

func purge(t *testing.T, s *service, before []string, accounts string) {
	s.MustRun(t, apt("purge haproxy-api"))
	removed, added := difference(before, s.files(t))
	for _, file := range append(removed, added...) {
		if !mayDiffer.MatchString(file) {
			t.Errorf("differs after the purge: %s", file)
		}
	}
	// The user stays, because HAProxy may still run as that user.
	gone, users := difference(strings.Split(accounts, "\n"), strings.Split(s.MustRun(t, "cat /etc/passwd /etc/group"), "\n"))
	ours := func(line string) bool { return strings.HasPrefix(line, "haproxy-api:x:") }
	if len(gone) != 0 || len(users) != 2 || !ours(users[0]) || !ours(users[1]) {
		t.Errorf("users and groups: gone %q, new %q", gone, users)
	}
	if packages := s.MustRun(t, "dpkg-query -W -f '${Package} ${Status}\n'"); strings.Contains(packages, "haproxy-api ") {
		t.Errorf("dpkg knows the package:\n%s", packages)
	}
	s.waitAnswer(t, 80, "9001") // HAProxy still has its files in /run/haproxy-api
	s.MustRun(t, fmt.Sprintf("test -S /run/haproxy-api/haproxy.master.sock && kill %d", s.master(t)))
	s.eventually(t, "HAProxy has ended", func() bool { _, _, err := s.get("http://127.0.0.1:80/"); return err != nil })
}

// policy installs the package where policy-rc.d forbids to start services, and purges it without a running HAProxy.
func policy(t *testing.T, s *service) {
	s.MustRun(t, `printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d`)
	s.MustRun(t, apt("install /root/"+firstVersion+".deb"))
	s.wantShow(t, map[string]string{"ActiveState": "inactive", "UnitFileState": "enabled"})
	s.MustRun(t, apt("purge haproxy-api")+" && test ! -e /run/haproxy-api")
}

// TestPackage_WithoutSystemd installs and purges the package in a Debian without systemd, such as a container.
func TestPackage_WithoutSystemd(t *testing.T) {
	s := &service{Machine: debiantest.New(t)}
	s.Copy(t, buildPackage(t, firstVersion, "deb"), "/root/"+firstVersion+".deb")
	s.MustRun(t, apt("install --no-install-recommends /root/"+firstVersion+".deb"))
	if out := s.MustRun(t, "haproxy-api --version"); !strings.Contains(out, firstVersion) {
		t.Errorf("version %q", out)
	}
	s.MustRun(t, apt("purge haproxy-api")+" && test ! -e /etc/haproxy-api -a ! -e /var/lib/haproxy-api")
}
