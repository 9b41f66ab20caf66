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

func TestHAProxyFollowsTheCatalogue(t *testing.T) {
	for _, follow := range []bool{false, true} {
		t.Run(fmt.Sprintf("follow=%v", follow), func(t *testing.T) {
			s := newSite(t)
			first := s.serve("web", "a", 8000)
			if follow {
				s.start("-F", s.sidecar.Address())
			} else {
				s.start()
			}
			s.answered(8000, "a")
			s.eventually("healthy", s.healthy)
			s.serve("web", "b", 8000)
			s.sidecar.Drain(first.Hostname, first.ID)
			s.answered(8000, "b")
			s.sidecar.SetStatus(first.Hostname, first.ID, sdk.Alive)
			s.sidecar.Remove("host-b", "b")
			s.eventually("b is gone", func() bool { return !strings.Contains(s.read("haproxy.cfg"), "host-b") })
			s.answered(8000, "a")
			s.serve("chat", "c", 8001)
			s.answered(8001, "c")
			s.stop()
			s.answered(8000, "a") // HAProxy outlives the daemon
		})
	}
}

func TestReplayedPushesEndInTheLastState(t *testing.T) {
	s := newSite(t)
	s.start()
	s.eventually("the daemon answers", func() bool { code, _ := s.health(); return code != 0 })
	pushes, err := filepath.Glob(recorded + "updates/post-*.json")
	if err != nil || len(pushes) != 31 {
		t.Fatalf("%d recorded pushes, %v", len(pushes), err)
	}
	for _, push := range pushes {
		body, err := os.ReadFile(push)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+s.api+"/update", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", push, resp.Status)
		}
	}
	want := s.render(recorded + "state-4-node3-tombstoned.json")
	s.eventually("the configuration of the last state", func() bool { return s.read("haproxy.cfg") == want })
	s.eventually("healthy", s.healthy)
	if diff := cmp.Diff(want, s.read("haproxy.cfg")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// render is the subcommand, with the site's configuration.
func (s *site) render(state string) string {
	s.t.Helper()
	out, err := exec.Command("haproxy-api", "-f", s.path("haproxy-api.toml"), "render", "--state", state).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

func TestADeadDaemonLeavesTrafficAlone(t *testing.T) {
	s := newSite(t)
	s.serve("web", "a", 8000)
	s.start()
	s.eventually("healthy", s.healthy)
	s.answered(8000, "a")
	worker, plugin := s.workerPID(), s.pluginPID()
	load := s.load(8000)
	s.kill()
	s.eventually("the plugin ends with its daemon", func() bool { return syscall.Kill(plugin, 0) != nil })
	s.answered(8000, "a")
	s.start()
	s.eventually("healthy", s.healthy)
	if now := s.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: what ran was not adopted", worker, now)
	}
	load.unharmed(t)
	s.serve("chat", "c", 8001)
	s.answered(8001, "c")
}

func TestADeadPluginLeavesTrafficAlone(t *testing.T) {
	s := newSite(t)
	s.serve("web", "a", 8000)
	s.start()
	s.eventually("healthy", s.healthy)
	s.answered(8000, "a")
	worker, plugin := s.workerPID(), s.pluginPID()
	load := s.load(8000)
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.eventually("another plugin", func() bool { now := s.pluginPID(); return now != 0 && now != plugin })
	s.eventually("healthy again", s.healthy)
	if now := s.workerPID(); now != worker {
		t.Errorf("the worker %d became %d: what ran was not adopted", worker, now)
	}
	load.unharmed(t)
	s.serve("chat", "c", 8001)
	s.answered(8001, "c")
}

func TestADeadHAProxyIsBack(t *testing.T) {
	for _, who := range []string{"master", "worker"} {
		t.Run(who, func(t *testing.T) {
			s := newSite(t)
			s.serve("web", "a", 8000)
			s.start()
			s.eventually("healthy", s.healthy)
			s.answered(8000, "a")
			victim := s.masterPID()
			if who == "worker" {
				victim = s.workerPID()
			}
			began := time.Now()
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			unhealthy := false
			s.eventually("HAProxy answers again", func() bool {
				if _, err := s.get(8000); err == nil {
					return s.workerPID() != victim && s.masterPID() != victim
				}
				// Nobody answers, so nobody may claim that all is well, unless HAProxy is back by the time it is asked.
				if code, _ := s.health(); code == http.StatusInternalServerError {
					unhealthy = true
				}
				return false
			})
			t.Logf("back after %s; health told of it: %v", time.Since(began).Round(time.Millisecond), unhealthy)
			s.eventually("healthy again", s.healthy)
		})
	}
}

func TestASavedTemplateIsInEffect(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
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
	s.write("haproxy.tmpl", template(""))
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")

	edit := "http-response set-header X-Edit yes"
	began := time.Now()
	s.write("haproxy.tmpl", template(edit))
	s.eventually("the edit shows", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:8000/", s.ip))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.Header.Get("X-Edit") == "yes"
	})
	took := time.Since(began).Round(time.Millisecond)
	s.eventually("the log tells of it", func() bool { return lastLine(s.log, "trigger=template") != "" })
	t.Logf("in effect %s after the save; of that check and reload: %s", took, lastLine(s.log, "trigger=template"))

	good := s.read("haproxy.cfg")
	s.write("haproxy.tmpl", template("{{ nonsense }}"))
	s.eventually("the fault is named", func() bool {
		return strings.Contains(s.log.String(), "haproxy.tmpl:13:6")
	})
	s.write("haproxy.tmpl", template("http-response nonsense"))
	s.eventually("HAProxy's word on it is passed on", func() bool {
		return strings.Contains(s.log.String(), "http-response nonsense") ||
			strings.Contains(s.log.String(), "'nonsense'")
	})
	if diff := cmp.Diff(good, s.read("haproxy.cfg")); diff != "" {
		t.Errorf("a broken template changed the configuration (-want +got)\n%s", diff)
	}
	if code, body := s.health(); code != http.StatusOK {
		t.Errorf("what is in effect is right, yet health says %d %s", code, body)
	}
	s.serve("web", "b", 8000) // with the last good template
	s.answered(8000, "b")
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

func TestBadPushesLoseNothing(t *testing.T) {
	s := newSite(t)
	s.serve("web", "a", 8000)
	s.start("--set", "haproxy_api.max_body=100000")
	s.answered(8000, "a")
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
		resp, err := http.Post("http://"+s.api+"/update", "application/json", bytes.NewReader(bad.body))
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
	s.answered(8000, "a")
	s.eventually("healthy", s.healthy)
	s.serve("chat", "c", 8001)
	s.answered(8001, "c")
}

// A template that HAProxy accepts and cannot load is the nastiest: the check lets it through.
func TestATemplateThatCannotBindHarmsNobody(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
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
	s.write("haproxy.tmpl", template(""))
	s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	taken, err := net.Listen("tcp", s.ip+":8999")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	load := s.load(8000)
	s.write("haproxy.tmpl", template("\nlisten other\n  bind "+s.ip+":8999\n"))
	s.eventually("the fault is named", func() bool {
		return strings.Contains(s.log.String(), "HAProxy cannot bind "+s.ip+":8999")
	})
	s.serve("chat", "c", 8001) // the catalogue's changes go on, by the template before
	s.answered(8001, "c")
	load.unharmed(t)
	if code, body := s.health(); code != http.StatusOK {
		t.Errorf("what is in effect is right, yet health says %d %s", code, body)
	}
}
