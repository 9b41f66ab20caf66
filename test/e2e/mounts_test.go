package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
)

// The configuration is a file that is mounted into a folder which cannot be written, as in a container with a read-only root.
func TestDaemon_ConfigInReadOnlyFolder(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	s := newSite(t, `reload_interval = "0s"`)
	folder := s.path("etc")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("haproxy-api.toml", strings.Replace(s.read("haproxy-api.toml"), s.path("haproxy.cfg"), s.path("etc/haproxy.cfg"), 1))
	s.config = "etc/haproxy.cfg"
	t.Cleanup(mounttest.ReadOnly(t, folder))
	check := func() string {
		out, _ := exec.Command("haproxy-api", "-f", s.path("haproxy-api.toml"), "check").CombinedOutput()
		return string(out)
	}
	if said := check(); !strings.Contains(said, "config_file") {
		t.Errorf("a folder that cannot be written: %s", said)
	}
	if err := exec.Command("umount", folder).Run(); err != nil {
		t.Fatal(err)
	}
	s.write(s.config, "")
	t.Cleanup(mounttest.Bind(t, s.path(s.config)))
	t.Cleanup(mounttest.ReadOnly(t, folder))
	if said := check(); strings.Contains(said, "config_file") {
		t.Errorf("a file that can be written in a folder that cannot: %s", said)
	}

	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	s.agrees()
	s.serve("web", "b", 8000) // at run time
	s.agrees()
	s.serve("chat", "c", 8001) // by a reload
	s.answered(8001, "c")
	s.agrees()
	s.kill()
	s.start()
	s.serve("chat", "d", 8001)
	s.agrees()
	s.eventually("healthy", s.healthy)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the folder are %v, %v", entries, err)
	}
}

// A companion that the pipeline has no more is removed, also where the daemon was restarted meanwhile.
func TestDaemon_ObsoleteCompanion(t *testing.T) {
	s := newSite(t)
	s.write("haproxy.tmpl", "defaults\n  mode http\n  timeout client 1m\nfrontend x\n  bind "+net.JoinHostPort(s.ip, "8000")+
		"\n  http-request return status 200 content-type text/plain string {{ .Vars.word }}\n")
	s.write("routes.tmpl", "a b\n")
	configure := func(word, files string) {
		s.write("haproxy-api.toml", fmt.Sprintf(`
[haproxy_api]
bind_ip = %q
bind_port = 7778
[sources.sidecar]
type = "sidecar-push"
state_url = %q
[sinks.edge]
type = "haproxy"
binary = "haproxy"
config_file = %q
pid_file = %q
reload_interval = "0s"
[pipelines.edge]
source = "sidecar"
sink = "edge"
template = "haproxy.tmpl"
vars = { word = %q }
files = { %s }
`, s.ip, s.sidecar.URL("/state.json"), s.path("haproxy.cfg"), s.path("haproxy.pid"), word, files))
	}
	configure("one", `"routes.map" = "routes.tmpl"`)
	s.start()
	s.answered(8000, "one")
	s.eventually("the companion is there", func() bool { return s.read("routes.map") == "a b\n" })
	s.stop()
	configure("two", "")
	s.start()
	s.answered(8000, "two")
	http.DefaultClient.CloseIdleConnections() // the worker before has them
	s.eventually("the companion is gone", func() bool {
		_, err := os.Stat(s.path("routes.map"))
		return os.IsNotExist(err)
	})
}
