package e2e_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/templates"
)

// The built-in template once gave one name to the frontend and the backend of a port. A HAProxy that runs such a configuration
// is reloaded once when the daemon is upgraded. No request is lost, and the names of backends and servers stay as they were.
func TestUpgradeOfTheBuiltInTemplate_RenamedFrontends(t *testing.T) {
	before := strings.Replace(string(templates.Builtin()), "frontend {{ $section }}-in", "frontend {{ $section }}", 1)
	if before == string(templates.Builtin()) {
		t.Fatal("the built-in template does not name its frontends as expected")
	}
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", before)
	s.serve("web", "a", 8000)
	s.serve("api", "b", 8001)
	s.start()
	s.answered(8000, "a")
	s.answered(8001, "b")
	master, worker, servers := s.masterPID(), s.workerPID(), s.servers()
	load, kept := s.load(8000), s.keptLoad(8001)

	s.stop()
	s.write("haproxy.tmpl", string(templates.Builtin()))
	s.start()
	s.eventually("the frontends have their new names", func() bool {
		return s.healthy() && strings.Contains(s.read("haproxy.cfg"), "frontend web-8000-in\n")
	})
	s.serve("web", "c", 8000)
	s.answered(8000, "c")
	load.unharmed(t)
	kept.unharmed(t)
	if s.masterPID() != master || s.workerPID() == worker || s.count("reloads") != 1 {
		t.Errorf("master %d and worker %d became %d and %d in %d reloads, want one new worker in one reload",
			master, worker, s.masterPID(), s.workerPID(), s.count("reloads"))
	}
	now := s.servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if _, there := now[name]; !there {
			t.Errorf("server %s is gone", name)
		}
	}
	if len(now) != len(servers)+1 {
		t.Errorf("the servers %v became %v, want one more", servers, now)
	}
}
