package e2e_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// weighing is a template that takes the weight of a server from its image's version, which HAProxy wants to be 256 at most.
const weighing = `global
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
func (s *site) leftOut() []server.Exclusion { return s.pipeline().Excluded }

// output is what a subcommand says, whatever becomes of it.
func (s *site) output(args ...string) string {
	cmd := exec.Command("haproxy-api", append([]string{"-f", s.path("haproxy-api.toml")}, args...)...)
	cmd.Dir = s.folder // to which the template's path is relative
	out, _ := cmd.CombinedOutput()
	return string(out)
}

func TestOneBadInstanceSpoilsOnlyItself(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", weighing)
	s.serve("chat", "c", 8001)
	s.serve("dns", "d", 8002)
	good := s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	s.answered(8001, "c")
	s.answered(8002, "d")
	load := s.load(8000)

	bad := good
	bad.ID, bad.Hostname, bad.Image = "b", "host-b", "web:300"
	s.sidecar.Add(bad)
	s.eventually("the API names it", func() bool { return len(s.leftOut()) == 1 })
	left := s.leftOut()[0]
	place := s.path("haproxy.cfg") + `:\d+ \(haproxy\.tmpl:14\): 'server web-8000/b' : weight of server b is not within`
	if left.Service != "web" || left.Instance != "b" || left.Hostname != "host-b" ||
		!regexp.MustCompile(place).MatchString(left.Reason) {
		t.Errorf("got %+v, want the reason %s", left, place)
	}

	s.serve("mail", "m", 8003) // the others' changes go live
	s.answered(8003, "m")
	load.unharmed(t)
	if !s.healthy() || strings.Contains(s.read("haproxy.cfg"), "weight 300") {
		code, body := s.health()
		t.Errorf("health says %d %s of\n%s", code, body, s.read("haproxy.cfg"))
	}
	if out := s.output("status"); !strings.Contains(out, `left out    instance "b" of service "web" on host-b: `+left.Reason) {
		t.Errorf("status does not tell of it:\n%s", out)
	}
	checked := `HAProxy rejects the configuration: ` + s.path("haproxy.cfg") +
		`:\d+ \(haproxy\.tmpl:14, service "web", instance "b" on host-b\): 'server web-8000/b' : weight`
	if out := s.output("check", "--state", s.sidecar.URL("/state.json")); !regexp.MustCompile(checked).MatchString(out) {
		t.Errorf("check says %s, want %s", out, checked)
	}
	if got := strings.Count(s.log.String(), "excluded, so that the rest can go live"); got != 1 {
		t.Errorf("the log tells %d times of it", got)
	}

	bad.Image = "web:200"
	s.sidecar.Add(bad)
	s.eventually("it is live once it is mended", func() bool { return strings.Contains(s.read("haproxy.cfg"), "weight 200") })
	s.eventually("the API names nobody", func() bool { return len(s.leftOut()) == 0 })
	s.eventually("the log tells", func() bool { return strings.Contains(s.log.String(), "no longer excluded") })
	s.answered(8000, "a")
}
