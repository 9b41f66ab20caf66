package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// slowStart is how long HAProxy takes to load. No time limit may end a load that is this slow.
const slowStart = 30 * time.Second

func TestReload_HAProxyLoadsSlowly(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `verify_cmd = "true"`) // HAProxy's check would load the script too
	template := func(more string) string {
		return fmt.Sprintf(`global
  maxconn 200
  %s
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
listen {{ $name }}-{{ $port }}
  bind {{ bindIP }}:{{ $port }}
{{ range $instances }}  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}`, more)
	}
	b := env.newBarrier()
	env.write("haproxy.tmpl", template(""))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitInSync()
	worker, reloads := env.workerPID(), env.fact("reloads")
	load := env.startLoad(8000)

	b.block()
	t.Cleanup(b.release)
	env.write("haproxy.tmpl", template(b.luaLoad()))
	env.template = nil
	b.waitReached()
	env.startInstance("web", "b", 8000)
	time.AfterFunc(slowStart, b.release)
	loading := env.waitPipeline("HAProxy is loading", func(p server.Pipeline) bool { return p.Facts["loading_for"] != "" })
	if len(loading.Problems) > 0 { // the previous worker serves
		t.Errorf("problems while HAProxy loads: %q", loading.Problems)
	}
	env.waitAnswer(8000, "a")
	env.waitInSync()
	env.waitAnswer(8000, "b")
	load.wantNoFailures(t)
	want := 1
	if strings.HasPrefix(env.pipeline().Facts["version"], "2.6") {
		want = 2 // on 2.6, a server that is not loaded yet takes a reload too
	}
	if done := env.fact("reloads") - reloads; done != want || env.workerPID() == worker {
		t.Errorf("there were %d reloads, want %d; the worker was %d and is %d", done, want, worker, env.workerPID())
	}
	env.eventually("healthy", env.healthy)
}
