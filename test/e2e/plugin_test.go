package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/sdktest"
)

func TestPlugin_DefaultConforms(t *testing.T) {
	t.Parallel()
	needHAProxy(t)
	directory, err := os.MkdirTemp("", "ha")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killHAProxyIn(directory); _ = os.RemoveAll(directory) })
	// With the race detector, the large document of the kit takes minutes.
	program := filepath.Join(t.TempDir(), "haproxy-api")
	if err := build(program, false); err != nil {
		t.Fatal(err)
	}
	configuration := func(port int) string {
		return fmt.Sprintf("defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"+
			"frontend f\n bind %s:%d\n", freshIP(), port)
	}
	sdktest.TestSink(t, sdktest.Sink{
		Program: sdktest.Program{Path: program, Args: []string{"plugin", "haproxy"}, Block: sdk.Block{
			"config_file": filepath.Join(directory, "haproxy.cfg"), "pid_file": filepath.Join(directory, "haproxy.pid"),
			"on_exit": "stop",
		}},
		FileName: "haproxy.cfg",
		Good:     [2]string{configuration(8000), configuration(8001)},
		Bad:      "nonsense\n",
	})
}

// addPipelines adds a pipeline into a directory, and one whose sink is a plugin that runs the shell command plugin.
func (env *testEnv) addPipelines(plugin string) {
	env.t.Helper()
	path := env.path("haproxy-api-sink-other")
	writeProgram(env.t, path, "#!/bin/sh\n"+plugin+"\n")
	env.write("names.tmpl", "{{ range $name, $_ := .Services }}{{ $name }}\n{{ end }}")
	env.write("more.toml", env.read("haproxy-api.toml")+fmt.Sprintf(`
[sinks.names]
type = "file"
path = %q
[pipelines.names]
source = "sidecar"
sink = "names"
template = %q
files = { "extra.txt" = %q }
[sinks.other]
type = "other"
[plugins.other]
path = %q
[pipelines.other]
source = "sidecar"
sink = "other"
template = %q
`, env.path("names"), env.path("names.tmpl"), env.path("names.tmpl"), path, env.path("names.tmpl")))
	env.write("haproxy-api.toml", env.read("more.toml"))
}

func TestPipelines_ShareSource(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	other := freshIP()
	env.addPipelines("exec haproxy-api plugin haproxy") // a second HAProxy, configured like a third party's plugin
	config := strings.Replace(env.read("haproxy-api.toml"), `type = "other"`, fmt.Sprintf(
		"type = \"other\"\nconfig_file = %q\npid_file = %q", env.path("other.cfg"), env.path("other.pid")), 1)
	config = strings.Replace(config, fmt.Sprintf("sink = \"other\"\ntemplate = %q", env.path("names.tmpl")),
		fmt.Sprintf("sink = \"other\"\nbind_ip = %q", other), 1)
	env.write("haproxy-api.toml", config)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.eventually("the second HAProxy answers", func() bool {
		body, err := get("http://" + other + ":8000/")
		return err == nil && body == "a"
	})
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
	env.eventually("both files name both services", func() bool {
		return env.read("names") == "chat\nweb\n" && env.read("extra.txt") == "chat\nweb\n"
	})
	env.eventually("healthy", env.healthy)
}

func TestPlugin_HangDelaysNoOtherPipeline(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.addPipelines("exec haproxy-api plugin haproxy")
	config := strings.Replace(env.read("haproxy-api.toml"), `type = "other"`, fmt.Sprintf(
		"type = \"other\"\nconfig_file = %q\npid_file = %q", env.path("other.cfg"), env.path("other.pid")), 1)
	env.write("haproxy-api.toml", config)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	other := 0
	env.eventually("both plugins run", func() bool {
		plugins := slices.DeleteFunc(childPIDs(env.cmd.Process.Pid), func(pid int) bool {
			return !strings.Contains(commandLine(pid), "plugin haproxy")
		})
		if len(plugins) == 2 {
			other = plugins[1]
		}
		return other != 0
	})
	// Either of the two plugins may be the one of port 8000. The pipeline into the directory has to continue in both cases.
	if err := syscall.Kill(other, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	env.startInstance("chat", "c", 8001)
	env.eventually("the file names the new service", func() bool { return strings.Contains(env.read("names"), "chat") })
	if code, body := env.health(); code != 500 {
		t.Errorf("a plugin hangs, and health is %d %s", code, body)
	}
	env.eventually("it is killed and restarted, and status and metrics report it", func() bool {
		metrics, err := get("http://" + env.apiAddress + "/metrics")
		out, _ := env.command("status").Output()
		return err == nil && regexp.MustCompile(`haproxy_api_plugin_restarts_total\{plugin="\w+"\} [1-9]`).MatchString(metrics) &&
			strings.Contains(string(out), "plugin_last_end ")
	})
	env.waitAnswer(8001, "c")
	env.stop()
}

func TestPlugin_StartFailureAffectsOnlyItsPipeline(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, settings, says string }{
		"exits at start":     {script: "exit 3", says: "exit status 3"},
		"never shakes hands": {script: "exec sleep 600", says: "the start takes longer than"},
		"wrong cookie": {
			script: "HAPROXY_API_PLUGIN=x exec haproxy-api plugin haproxy",
			says:   "exit status 1",
		},
		"wrong protocol version": {
			script: `printf '1|99|unix|/nowhere|grpc|\n'; sleep 60`,
			says:   "version 99",
		},
		"wrong checksum": {
			script:   "exec haproxy-api plugin haproxy",
			settings: `sha256 = "` + strings.Repeat("0", 64) + `"`,
			says:     "pinned",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.addPipelines(test.script)
			env.write("haproxy-api.toml", strings.Replace(
				env.read("haproxy-api.toml"), "[plugins.other]", "[plugins.other]\n"+test.settings, 1))
			env.startInstance("web", "a", 8000)
			env.start()
			env.waitAnswer(8000, "a")
			env.startInstance("chat", "c", 8001)
			env.waitAnswer(8001, "c")
			var status string
			env.eventually("status reports the fault", func() bool {
				status = env.output("status")
				return strings.Contains(status, test.says)
			})
			t.Log("\n" + status)
			env.eventually("metrics count the failure", func() bool {
				body, err := get("http://" + env.apiAddress + "/metrics")
				failed := regexp.MustCompile(`haproxy_api_applies_total\{action="none",outcome="failed",pipeline="other"\} [1-9]`)
				return err == nil && failed.MatchString(body)
			})
			env.stop()
		})
	}
}

func TestPlugin_FloodsLog(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.addPipelines("head -c 20000000 /dev/zero | tr '\\0' 'x' >&2; seq 200000 >&2; exec haproxy-api plugin haproxy")
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), `type = "other"`, fmt.Sprintf(
		"type = \"other\"\nconfig_file = %q\npid_file = %q", env.path("other.cfg"), env.path("other.pid")), 1))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.eventually("the flood is reported", func() bool { return strings.Contains(env.log.String(), "sink=other seconds=") })
	if size := len(env.log.String()); size > 10<<20 {
		t.Errorf("a flood of 21 MB left %d bytes in the log", size)
	}
	env.stop()
}

func TestPlugin_RestartIsCounted(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	if err := syscall.Kill(env.pluginPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.eventually("the metric", func() bool {
		body, err := get("http://" + env.apiAddress + "/metrics")
		return err == nil && strings.Contains(body, `haproxy_api_plugin_restarts_total{plugin="haproxy"} 1`)
	})
	env.shows("status", "plugin_last_end signal: killed")
}

// A backend that is down at the start, or during a check, is not a fault of the configuration.
func TestPlugin_BackendDownAtStart(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.write("haproxy-api.toml", env.read("haproxy-api.toml")+env.faultyPluginConfig())
	env.write("down", "")
	env.startInstance("web", "a", 8000)
	if out := env.output("check"); !strings.Contains(out, "cannot start at the moment") || strings.Contains(out, "no faults") {
		t.Errorf("check says\n%s", out)
	}
	env.start()
	env.eventually("the API answers", env.apiAnswers)
	env.waitPipeline("unhealthy because of the backend", func(p server.Pipeline) bool {
		return strings.Contains(strings.Join(p.Problems, "\n"), "connection refused")
	})
	if err := os.Remove(env.path("down")); err != nil {
		t.Fatal(err)
	}
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.stop()
}

// check lists the sinks that cannot check their document.
func TestCheck_ListsUncheckedSinks(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.addPipelines("exec unresponsive-plugin")
	env.write("state.json", `{"Servers":{}}`)
	for format, want := range map[string]string{
		"text": "not checked by a sink: names, other\n",
		"json": `"unchecked": [` + "\n    \"names\",\n    \"other\"\n  ]",
	} {
		if out := env.output("check", "--state", env.path("state.json"), "--output", format); !strings.Contains(out, want) {
			t.Errorf("check says\n%s", out)
		}
	}
}

// A configuration reload that needs a plugin which cannot start at the moment changes nothing, and can be repeated.
func TestConfigReload_PluginCannotStart(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `drain_timeout = "2s"`)
	env.write("haproxy-api.toml", env.read("haproxy-api.toml")+env.faultyPluginConfig())
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	plugin := env.pluginPID()
	env.write("down", "")
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), `"2s"`, `"3s"`, 1))
	env.eventually("the reload fails", func() bool { return strings.Contains(env.log.String(), "connection refused") })
	// The plugin that could not start may need a moment to end.
	env.eventually("the plugin is the same", func() bool { return env.pluginPID() == plugin })
	env.eventually("healthy", env.healthy)
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
