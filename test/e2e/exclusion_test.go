package e2e_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// listening is a template with a statistics page of its own, and a weight from the image, with a function that fails for some.
const listenTemplate = `global
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
func (env *testEnv) excludedNames() string {
	var names []string
	for _, l := range env.exclusions() {
		names = append(names, strings.TrimSuffix(l.Service+"/"+l.Instance, "/"))
	}
	return strings.Join(names, " ")
}

func (env *testEnv) waitExcluded(names string) {
	env.t.Helper()
	env.eventually("left out: "+names, func() bool { return env.excludedNames() == names })
	env.eventually("it is healthy", env.healthy)
}

// A service may ask for any port. The owner of a port keeps it, and all other services go live, after a cold start too.
func TestExclusion_PortInUse(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", listenTemplate)
	other, err := net.Listen("tcp", net.JoinHostPort(env.ip, "8090"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	env.startInstance("web", "a", 8000)
	env.startInstance("daemon", "d", 7778)
	env.startInstance("stats", "s", 8404)
	env.startInstance("taken", "t", 8090)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitExcluded("daemon stats taken")
	for range 20 {
		if body, err := env.get(8404); err != nil || body == "s" {
			t.Fatalf("the statistics page answers as %q, %v", body, err)
		}
	}

	load := env.startLoad(8000)
	env.startInstance("mail", "m", 8001)
	env.waitAnswer(8001, "m")
	twin := env.startInstance("web2", "b", 8000) // is not older than web
	env.waitExcluded("daemon stats taken web2")
	_ = other.Close()
	env.waitAnswer(8090, "t")
	env.waitExcluded("daemon stats web2")
	load.wantNoFailures(t)

	env.sidecar.Remove(twin.Hostname, twin.ID)
	env.waitExcluded("daemon stats")
}

func TestExclusion_TemplateFunctionFails(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", listenTemplate)
	good := env.startInstance("web", "a", 8000)
	bad := good
	bad.ID, bad.Hostname, bad.Image = "b", "host-b", "web"
	env.sidecar.Add(bad)
	env.start()
	env.waitAnswer(8000, "a")
	env.waitExcluded("web/b")
	if reason := env.exclusions()[0].Reason; !strings.HasPrefix(reason, "haproxy.tmpl:18:") {
		t.Errorf("reason %q", reason)
	}
	env.startInstance("mail", "m", 8001)
	env.waitAnswer(8001, "m")
	bad.Image = "web:7"
	env.sidecar.Add(bad)
	env.waitExcluded("")
	env.eventually("it is live", func() bool { return strings.Contains(env.read("haproxy.cfg"), "weight 7") })
}

// HAProxy stops counting faults at 50. Each document that is offered has a generation of its own.
func TestExclusion_ThousandRejectedInstances(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", listenTemplate)
	good := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	load := env.startLoad(8000)
	env.sidecar.Burst(func(b *sidecartest.Batch) {
		for i := range 1000 {
			bad := good
			bad.ID, bad.Hostname, bad.Image = "b"+strconv.Itoa(i), "host-b"+strconv.Itoa(i), "web:"+strconv.Itoa(300+i)
			b.Add(bad)
		}
	})
	env.eventually("all are left out", func() bool { return len(env.exclusions()) == 1000 })
	env.startInstance("mail", "m", 8001)
	env.waitAnswer(8001, "m")
	load.wantNoFailures(t)
	if offered := env.pipeline().Generation; !env.healthy() || offered > 6 {
		t.Errorf("healthy: %v, %d documents were offered", env.healthy(), offered)
	}
}
