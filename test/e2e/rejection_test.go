package e2e_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// weighing is a template that takes the weight of a server from its image's version, which HAProxy wants to be 256 at most.
const weightTemplate = `global
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
backend {{ $name }}-{{ $port }}
{{- range $instances }}
  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }} weight {{ .Version }}
{{- end }}
{{ end }}{{ end }}`

// leftOut is what the API tells of it.
func (env *testEnv) exclusions() []server.Exclusion { return env.pipeline().Excluded }

// output is what a subcommand says, whatever becomes of it.
func (env *testEnv) output(args ...string) string {
	cmd := exec.Command("haproxy-api", append([]string{"-f", env.path("haproxy-api.toml")}, args...)...)
	cmd.Dir = env.folder // to which the template's path is relative
	out, _ := cmd.CombinedOutput()
	return string(out)
}

func TestExclusion_HAProxyRejectsInstance(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", weightTemplate)
	env.startInstance("chat", "c", 8001)
	env.startInstance("dns", "d", 8002)
	good := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitAnswer(8001, "c")
	env.waitAnswer(8002, "d")
	load := env.startLoad(8000)

	bad := good
	bad.ID, bad.Hostname, bad.Image = "b", "host-b", "web:300"
	env.sidecar.Add(bad)
	env.eventually("the API names it", func() bool { return len(env.exclusions()) == 1 })
	left := env.exclusions()[0]
	place := env.path("haproxy.cfg") + `:\d+ \(haproxy\.tmpl:14\): 'server web-8000/b' : weight of server b is not within`
	if left.Service != "web" || left.Instance != "b" || left.Hostname != "host-b" ||
		!regexp.MustCompile(place).MatchString(left.Reason) {
		t.Errorf("got %+v, want the reason %s", left, place)
	}

	env.startInstance("mail", "m", 8003) // the others' changes go live
	env.waitAnswer(8003, "m")
	load.wantNoFailures(t)
	if !env.healthy() || strings.Contains(env.read("haproxy.cfg"), "weight 300") {
		code, body := env.health()
		t.Errorf("health says %d %s of\n%s", code, body, env.read("haproxy.cfg"))
	}
	if out := env.output("status"); !strings.Contains(out, `left out    instance "b" of service "web" on host-b: `+left.Reason) {
		t.Errorf("status does not tell of it:\n%s", out)
	}
	checked := `HAProxy rejects the configuration: ` + env.path("haproxy.cfg") +
		`:\d+ \(haproxy\.tmpl:14, service "web", instance "b" on host-b\): 'server web-8000/b' : weight`
	if out := env.output("check", "--state", env.sidecar.URL("/state.json")); !regexp.MustCompile(checked).MatchString(out) {
		t.Errorf("check says %s, want %s", out, checked)
	}
	if got := strings.Count(env.log.String(), "excluded, so that the rest can go live"); got != 1 {
		t.Errorf("the log tells %d times of it", got)
	}

	bad.Image = "web:200"
	env.sidecar.Add(bad)
	env.eventually("it is live once it is mended", func() bool { return strings.Contains(env.read("haproxy.cfg"), "weight 200") })
	env.eventually("the API names nobody", func() bool { return len(env.exclusions()) == 0 })
	env.eventually("the log tells", func() bool { return strings.Contains(env.log.String(), "no longer excluded") })
	env.waitAnswer(8000, "a")
}
