package e2e_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// listening is a template with a statistics page of its own, and a weight from the image, with a function that fails for some.
const listening = `global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend statistics
  bind {{ bindIP }}:8404
  stats enable
  stats uri /
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
  default_backend {{ $name }}-{{ $port }}
backend {{ $name }}-{{ $port }}
{{- range $instances }}
  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }} weight {{ index (splitList ":" .Image) 1 }}
{{- end }}
{{ end }}{{ end }}`

// namesLeftOut are the services that are left out, or SERVICE/ID.
func (s *site) namesLeftOut() string {
	var names []string
	for _, l := range s.leftOut() {
		names = append(names, strings.TrimSuffix(l.Service+"/"+l.Instance, "/"))
	}
	return strings.Join(names, " ")
}

func (s *site) wantLeftOut(names string) {
	s.t.Helper()
	s.eventually("left out: "+names, func() bool { return s.namesLeftOut() == names })
	s.eventually("it is healthy", s.healthy)
}

// A service may ask for any port. The owner of a port keeps it, and all other services go live, after a cold start too.
func TestAServiceThatAsksForATakenPort(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", listening)
	other, err := net.Listen("tcp", net.JoinHostPort(s.ip, "8090"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s.serve("web", "a", 8000)
	s.serve("daemon", "d", 7778)
	s.serve("stats", "s", 8404)
	s.serve("taken", "t", 8090)
	s.start()
	s.answered(8000, "a")
	s.wantLeftOut("daemon stats taken")
	for range 20 {
		if body, err := s.get(8404); err != nil || body == "s" {
			t.Fatalf("the statistics page answers as %q, %v", body, err)
		}
	}

	load := s.load(8000)
	s.serve("mail", "m", 8001)
	s.answered(8001, "m")
	twin := s.serve("web2", "b", 8000) // is not older than web
	s.wantLeftOut("daemon stats taken web2")
	_ = other.Close()
	s.answered(8090, "t")
	s.wantLeftOut("daemon stats web2")
	load.unharmed(t)

	s.sidecar.Remove(twin.Hostname, twin.ID)
	s.wantLeftOut("daemon stats")
}

func TestAnInstanceThatMakesAFunctionFail(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", listening)
	good := s.serve("web", "a", 8000)
	bad := good
	bad.ID, bad.Hostname, bad.Image = "b", "host-b", "web"
	s.sidecar.Add(bad)
	s.start()
	s.answered(8000, "a")
	s.wantLeftOut("web/b")
	if reason := s.leftOut()[0].Reason; !strings.HasPrefix(reason, "haproxy.tmpl:18:") {
		t.Errorf("reason %q", reason)
	}
	s.serve("mail", "m", 8001)
	s.answered(8001, "m")
	bad.Image = "web:7"
	s.sidecar.Add(bad)
	s.wantLeftOut("")
	s.eventually("it is live", func() bool { return strings.Contains(s.read("haproxy.cfg"), "weight 7") })
}

// HAProxy stops counting faults at 50. Each document that is offered has a generation of its own.
func TestManyInstancesThatHAProxyRejects(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`)
	s.write("haproxy.tmpl", listening)
	good := s.serve("web", "a", 8000)
	s.start()
	s.answered(8000, "a")
	load := s.load(8000)
	s.sidecar.Burst(func(b *sidecartest.Batch) {
		for i := range 1000 {
			bad := good
			bad.ID, bad.Hostname, bad.Image = "b"+strconv.Itoa(i), "host-b"+strconv.Itoa(i), "web:"+strconv.Itoa(300+i)
			b.Add(bad)
		}
	})
	s.eventually("all are left out", func() bool { return len(s.leftOut()) == 1000 })
	s.serve("mail", "m", 8001)
	s.answered(8001, "m")
	load.unharmed(t)
	if offered := s.pipeline().Generation; !s.healthy() || offered > 6 {
		t.Errorf("healthy: %v, %d documents were offered", s.healthy(), offered)
	}
}
