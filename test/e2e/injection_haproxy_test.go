package e2e_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// injectedInstances returns copies of an instance with an injection case in one field each. With names set, the name of the
// service is such a field too.
func injectedInstances(like sdk.Instance, names bool) []sdk.Instance {
	var all []sdk.Instance
	add := func(put func(i *sdk.Instance)) {
		i := like
		i.ID, i.Ports = fmt.Sprintf("attacker-%d", len(all)), slices.Clone(like.Ports)
		put(&i)
		all = append(all, i)
	}
	for _, c := range injectionCases {
		if len(c.value) > 1000 { // larger than the body of a push may be
			continue
		}
		add(func(i *sdk.Instance) { i.ID = c.value })
		add(func(i *sdk.Instance) { i.Image = c.value })
		add(func(i *sdk.Instance) { i.Hostname = c.value })
		add(func(i *sdk.Instance) { i.ProxyMode = c.value })
		add(func(i *sdk.Instance) { i.Ports[0].Type = c.value })
		if c.name != "a keyword" && c.name != "empty" { // the address is then a host name that does not exist
			add(func(i *sdk.Instance) { i.Ports[0].IP = c.value })
		}
		if names {
			add(func(i *sdk.Instance) { i.Name, i.Ports[0].ServicePort = c.value, int64(9000+len(all)) })
		}
	}
	for _, port := range []int64{-1, 0, 65536, 70000, math.MaxInt64, math.MinInt64} {
		add(func(i *sdk.Instance) { i.Ports[0].Port = port })
		if port != 0 { // 0 stands for a port that is not offered
			add(func(i *sdk.Instance) { i.Ports[0].ServicePort = port })
		}
	}
	return all
}

// The lines that an attacked instance may add.
var (
	ownServer  = regexp.MustCompile(`^\tserver [\w.-]+ 127\.0\.0\.1:\d+$`)
	ownSection = regexp.MustCompile(`^$|^(frontend|backend|\tdefault_backend) [a-z0-9-]+$|^\t(mode http|bind [\d.]+:9\d{3})$`)
)

// wantNoForgedLines fails the test if the log has control characters, or a line that does not begin as those of the daemon do.
func wantNoForgedLines(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		text := strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(text, "time=") || !utf8.ValidString(text) ||
			strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the log has the line %.300q", line)
		}
	}
}

// All cases are in one push to a real HAProxy. The file and the running servers differ only by servers of the attacked instances.
func TestInjection_WithHAProxy(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]string{"at run time": "runtime = true", "by reloads": "runtime = false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t, setting)
			env.startInstance("web", "a", 8000)
			env.startInstance("web", "b", 8000)
			env.startInstance("chat", "c", 8001)
			evil := env.startInstance("evil", "e", 8002)
			env.start()
			env.waitInSync()
			before, ran, reloads := env.read("haproxy.cfg"), env.servers(), env.fact("reloads")
			load := env.startLoad(8000)

			reload := setting == "runtime = false"
			all := injectedInstances(evil, reload)
			env.sidecar.Burst(func(b *sidecartest.Batch) {
				for _, one := range all {
					b.Add(one)
				}
			})
			_, out := engine.Quarantine(env.sidecar.Snapshot())
			env.eventually("the API counts all", func() bool { return env.pipeline().QuarantinedCount == len(out) })
			env.waitInSync()
			more, intact := addedLines(strings.Split(before, "\n"), strings.Split(env.read("haproxy.cfg"), "\n"))
			if !intact {
				t.Errorf("lines of others changed:\n%s", env.read("haproxy.cfg"))
			}
			servers := 0
			for _, line := range more {
				switch {
				case ownServer.MatchString(line):
					servers++
				case !reload || !ownSection.MatchString(line):
					t.Errorf("there is the line %q", line)
				}
			}
			runs := env.servers()
			for id, server := range ran {
				if runs[id] != server {
					t.Errorf("server %s was %+v and is %+v", id, server, runs[id])
				}
			}
			if len(runs) != len(ran)+servers {
				t.Errorf("%d lines were added to %d servers, and these run:\n%v", servers, len(ran), runs)
			}
			if now := env.fact("reloads"); !reload && now != reloads {
				t.Errorf("%d reloads", now-reloads)
			}
			if left := env.exclusions(); len(left) > 0 {
				t.Errorf("excluded: %+v", left)
			}
			load.wantNoFailures(t)
			wantNoForgedLines(t, env.log.String())
			if status := env.output("status"); !strings.Contains(status, fmt.Sprintf(" %d quarantined", len(out))) {
				t.Errorf("status says\n%s", status)
			}
			t.Logf("%d attackers: %d quarantined, %d servers", len(all), len(out), servers)
			env.eventually("healthy", env.healthy)
		})
	}
}
