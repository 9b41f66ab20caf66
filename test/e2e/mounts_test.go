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
func TestMount_ConfigFileInReadOnlyFolder(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	env := newTestEnv(t, `reload_interval = "0s"`)
	folder := env.path("etc")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), env.path("haproxy.cfg"), env.path("etc/haproxy.cfg"), 1))
	env.config = "etc/haproxy.cfg"
	t.Cleanup(mounttest.ReadOnly(t, folder))
	check := func() string {
		out, _ := exec.Command("haproxy-api", "-f", env.path("haproxy-api.toml"), "check").CombinedOutput()
		return string(out)
	}
	if said := check(); !strings.Contains(said, "config_file") {
		t.Errorf("a folder that cannot be written: %s", said)
	}
	if err := exec.Command("umount", folder).Run(); err != nil {
		t.Fatal(err)
	}
	env.write(env.config, "")
	t.Cleanup(mounttest.Bind(t, env.path(env.config)))
	t.Cleanup(mounttest.ReadOnly(t, folder))
	if said := check(); strings.Contains(said, "config_file") {
		t.Errorf("a file that can be written in a folder that cannot: %s", said)
	}

	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitInSync()
	env.startInstance("web", "b", 8000) // at run time
	env.waitInSync()
	env.startInstance("chat", "c", 8001) // by a reload
	env.waitAnswer(8001, "c")
	env.waitInSync()
	env.kill()
	env.start()
	env.startInstance("chat", "d", 8001)
	env.waitInSync()
	env.eventually("healthy", env.healthy)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the folder are %v, %v", entries, err)
	}
}

// A companion that the pipeline has no more is removed, also where the daemon was restarted meanwhile.
func TestCompanion_ObsoleteFileIsRemoved(t *testing.T) {
	env := newTestEnv(t)
	env.write("haproxy.tmpl", "defaults\n  mode http\n  timeout client 1m\nfrontend x\n  bind "+net.JoinHostPort(env.ip, "8000")+
		"\n  http-request return status 200 content-type text/plain string {{ .Vars.word }}\n")
	env.write("routes.tmpl", "a b\n")
	configure := func(word, files string) {
		env.write("haproxy-api.toml", fmt.Sprintf(`
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
`, env.ip, env.sidecar.URL("/state.json"), env.path("haproxy.cfg"), env.path("haproxy.pid"), word, files))
	}
	configure("one", `"routes.map" = "routes.tmpl"`)
	env.start()
	env.waitAnswer(8000, "one")
	env.eventually("the companion is there", func() bool { return env.read("routes.map") == "a b\n" })
	env.stop()
	configure("two", "")
	env.start()
	env.waitAnswer(8000, "two")
	http.DefaultClient.CloseIdleConnections() // the worker before has them
	env.eventually("the companion is gone", func() bool {
		_, err := os.Stat(env.path("routes.map"))
		return os.IsNotExist(err)
	})
}
