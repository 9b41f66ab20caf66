package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const recorded = "../../sources/sidecar/testdata/recorded/"

func TestHAProxy_FollowsCatalogue(t *testing.T) {
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) {
			env := newTestEnv(t)
			first := env.startInstance("web", "a", 8000)
			if follow {
				env.start("-F", env.sidecar.Address())
			} else {
				env.start()
			}
			env.waitAnswer(8000, "a")
			env.eventually("healthy", env.healthy)
			env.startInstance("web", "b", 8000)
			env.sidecar.Drain(first.Hostname, first.ID)
			env.waitAnswer(8000, "b")
			env.sidecar.SetStatus(first.Hostname, first.ID, sdk.Alive)
			env.sidecar.Remove("host-b", "b")
			env.eventually("b is gone", func() bool { return !strings.Contains(env.read("haproxy.cfg"), "host-b") })
			env.waitAnswer(8000, "a")
			env.startInstance("chat", "c", 8001)
			env.waitAnswer(8001, "c")
			env.stop()
			env.waitAnswer(8000, "a") // HAProxy outlives the daemon
		})
	}
}

func TestPush_RecordedSequence(t *testing.T) {
	env := newTestEnv(t)
	env.start()
	env.eventually("the daemon answers", func() bool { code, _ := env.health(); return code != 0 })
	pushes, err := filepath.Glob(recorded + "updates/post-*.json")
	if err != nil || len(pushes) != 31 {
		t.Fatalf("%d recorded pushes, %v", len(pushes), err)
	}
	for _, push := range pushes {
		body, err := os.ReadFile(push)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", push, resp.Status)
		}
	}
	want := env.render(recorded + "state-4-node3-tombstoned.json")
	env.eventually("the configuration of the last state", func() bool { return env.read("haproxy.cfg") == want })
	env.eventually("healthy", env.healthy)
	if diff := cmp.Diff(want, env.read("haproxy.cfg")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// render is the subcommand, with the site's configuration.
func (env *testEnv) render(state string) string {
	env.t.Helper()
	out, err := exec.Command("haproxy-api", "-f", env.path("haproxy-api.toml"), "render", "--state", state).Output()
	if err != nil {
		env.t.Fatal(err)
	}
	return string(out)
}

func TestCrash_DaemonKilled(t *testing.T) {
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.eventually("healthy", env.healthy)
	env.waitAnswer(8000, "a")
	worker, plugin := env.workerPID(), env.pluginPID()
	load := env.startLoad(8000)
	env.kill()
	env.eventually("the plugin ends with its daemon", func() bool { return syscall.Kill(plugin, 0) != nil })
	env.waitAnswer(8000, "a")
	env.start()
	env.eventually("healthy", env.healthy)
	if now := env.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: what ran was not adopted", worker, now)
	}
	load.wantNoFailures(t)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}

func TestCrash_PluginKilled(t *testing.T) {
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start()
	env.eventually("healthy", env.healthy)
	env.waitAnswer(8000, "a")
	worker, plugin := env.workerPID(), env.pluginPID()
	load := env.startLoad(8000)
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.eventually("another plugin", func() bool { now := env.pluginPID(); return now != 0 && now != plugin })
	env.eventually("healthy again", env.healthy)
	if now := env.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: what ran was not adopted", worker, now)
	}
	load.wantNoFailures(t)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}

func TestCrash_HAProxyKilled(t *testing.T) {
	for _, who := range []string{"master", "worker"} {
		t.Run(who, func(t *testing.T) {
			env := newTestEnv(t)
			env.startInstance("web", "a", 8000)
			env.start()
			env.eventually("healthy", env.healthy)
			env.waitAnswer(8000, "a")
			victim := env.masterPID()
			if who == "worker" {
				victim = env.workerPID()
			}
			began := time.Now()
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			unhealthy := false
			env.eventually("HAProxy answers again", func() bool {
				if _, err := env.get(8000); err == nil {
					return env.workerPID() != victim && env.masterPID() != victim
				}
				// Nobody answers, so nobody may claim that all is well, unless HAProxy is back by the time it is asked.
				if code, _ := env.health(); code == http.StatusInternalServerError {
					unhealthy = true
				}
				return false
			})
			t.Logf("back after %s; health told of it: %v", time.Since(began).Round(time.Millisecond), unhealthy)
			env.eventually("healthy again", env.healthy)
		})
	}
}

func TestTemplate_SavedFileIsApplied(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	template := func(header string) string {
		return fmt.Sprintf(`
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
  default_backend {{ $name }}-{{ $port }}
  %s
backend {{ $name }}-{{ $port }}
{{ range $instances }}  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}`, header)
	}
	env.write("haproxy.tmpl", template(""))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")

	edit := "http-response set-header X-Edit yes"
	began := time.Now()
	env.write("haproxy.tmpl", template(edit))
	env.eventually("the edit shows", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:8000/", env.ip))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.Header.Get("X-Edit") == "yes"
	})
	took := time.Since(began).Round(time.Millisecond)
	env.eventually("the log tells of it", func() bool { return lastLine(env.log, "trigger=template") != "" })
	t.Logf("in effect %s after the save; of that check and reload: %s", took, lastLine(env.log, "trigger=template"))

	good := env.read("haproxy.cfg")
	env.write("haproxy.tmpl", template("{{ nonsense }}"))
	env.eventually("the fault is named", func() bool {
		return strings.Contains(env.log.String(), "haproxy.tmpl:13:6")
	})
	env.write("haproxy.tmpl", template("http-response nonsense"))
	env.eventually("HAProxy's word on it is passed on", func() bool {
		return strings.Contains(env.log.String(), "http-response nonsense") ||
			strings.Contains(env.log.String(), "'nonsense'")
	})
	if diff := cmp.Diff(good, env.read("haproxy.cfg")); diff != "" {
		t.Errorf("a broken template changed the configuration (-want +got)\n%s", diff)
	}
	if code, body := env.health(); code != http.StatusOK {
		t.Errorf("what is in effect is right, yet health says %d %s", code, body)
	}
	env.startInstance("web", "b", 8000) // with the last good template
	env.waitAnswer(8000, "b")
}

// lastLine returns the last line of the log that contains the text.
func lastLine(log *logFile, text string) string {
	last := ""
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, text) {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

func TestPush_InvalidBodies(t *testing.T) {
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start("--set", "haproxy_api.max_body=100000")
	env.waitAnswer(8000, "a")
	whole, err := os.ReadFile(recorded + "updates/post-001.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		name string
		body []byte
		code int
	}{
		{"malformed", []byte("{]"), 400},
		{"empty", nil, 400},
		{"truncated", whole[:len(whole)/2], 400},
		{"another thing", []byte(`{"hello":1}`), 400},
		{"oversized", bytes.Repeat([]byte(" "), 200_000), 413},
	} {
		resp, err := http.Post("http://"+env.apiAddress+"/update", "application/json", bytes.NewReader(bad.body))
		if err != nil {
			t.Fatal(err)
		}
		var answer bytes.Buffer
		_, _ = answer.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != bad.code || !strings.HasPrefix(answer.String(), `{"errors":["`) {
			t.Errorf("%s: %s %s", bad.name, resp.Status, answer.String())
		}
		t.Logf("%s: %d %s", bad.name, resp.StatusCode, strings.TrimSpace(answer.String()))
	}
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
	env.startInstance("chat", "c", 8001)
	env.waitAnswer(8001, "c")
}

// A template that HAProxy accepts and cannot load is the nastiest: the check lets it through.
func TestTemplate_AddressInUse(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	template := func(more string) string {
		return `
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
listen {{ $name }}-{{ $port }}
  bind {{ bindIP }}:{{ $port }}
{{ range $instances }}  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}` + more
	}
	env.write("haproxy.tmpl", template(""))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	taken, err := net.Listen("tcp", env.ip+":8999")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	load := env.startLoad(8000)
	env.write("haproxy.tmpl", template("\nlisten other\n  bind "+env.ip+":8999\n"))
	env.eventually("the fault is named", func() bool {
		return strings.Contains(env.log.String(), "HAProxy cannot bind "+env.ip+":8999")
	})
	env.startInstance("chat", "c", 8001) // the catalogue's changes go on, by the template before
	env.waitAnswer(8001, "c")
	load.wantNoFailures(t)
	if code, body := env.health(); code != http.StatusOK {
		t.Errorf("what is in effect is right, yet health says %d %s", code, body)
	}
}
