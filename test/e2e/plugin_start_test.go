package e2e_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// A backend that is down at the start, or at a check, is no fault of the configuration.
func TestPlugin_BackendDownAtStart(t *testing.T) {
	env := newTestEnv(t)
	env.write("haproxy-api.toml", env.read("haproxy-api.toml")+env.faultyPluginConfig())
	env.write("down", "")
	env.startInstance("web", "a", 8000)
	if out := env.output("check"); !strings.Contains(out, "cannot start at the moment") || strings.Contains(out, "no faults") {
		t.Errorf("check says\n%s", out)
	}
	env.start()
	env.eventually("the daemon is there", env.apiAnswers)
	p := env.waitPipeline("unhealthy", func(p server.Pipeline) bool { return len(p.Problems) > 0 })
	if !strings.Contains(strings.Join(p.Problems, "\n"), "connection refused") {
		t.Errorf("problems %q", p.Problems)
	}
	if err := os.Remove(env.path("down")); err != nil {
		t.Fatal(err)
	}
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.stop()
}

// What is the sink's to know is not said to be checked where the sink cannot check it.
func TestCheck_ListsUncheckedSinks(t *testing.T) {
	env := newTestEnv(t)
	env.addPipelines("exec unresponsive-plugin")
	env.write("state.json", `{"Servers":{}}`)
	for format, want := range map[string]string{
		"text": "no faults; not checked by a sink: other\n", "json": `"unchecked": [` + "\n    \"other\"\n  ]",
	} {
		if out := env.output("check", "--state", env.path("state.json"), "--output", format); !strings.Contains(out, want) {
			t.Errorf("check says\n%s", out)
		}
	}
}

// A reload that needs a plugin which cannot start at the moment changes nothing, and can be tried again.
func TestConfigReload_PluginCannotStart(t *testing.T) {
	env := newTestEnv(t, `drain_timeout = "2s"`)
	env.write("haproxy-api.toml", env.read("haproxy-api.toml")+env.faultyPluginConfig())
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	plugin := env.pluginPID()
	env.write("down", "")
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), `"2s"`, `"3s"`, 1))
	env.eventually("the reload is refused", func() bool { return strings.Contains(env.log.String(), "connection refused") })
	if now := env.pluginPID(); now != plugin || !env.healthy() {
		t.Errorf("process %d became %d, healthy %v", plugin, now, env.healthy())
	}
	if err := os.Remove(env.path("down")); err != nil {
		t.Fatal(err)
	}
	if err := env.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	env.eventually("the reload is done", func() bool { return strings.Contains(env.log.String(), "sink haproxy restarted") })
	env.waitAnswer(8000, "a")
	env.stop()
}
