package e2e_test

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// weightTemplate takes the weight of a server from the version of its image. HAProxy accepts weights up to 256.
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

// exclusions returns the excluded instances from the API.
func (env *testEnv) exclusions() []server.Exclusion { return env.pipeline().Excluded }

func TestExclusion_HAProxyRejectsInstance(t *testing.T) {
	t.Parallel()
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
	env.eventually("the API lists the exclusion", func() bool { return len(env.exclusions()) == 1 })
	excluded := env.exclusions()[0]
	place := env.path("haproxy.cfg") + `:\d+ \(haproxy\.tmpl:14\): 'server web-8000/b' : weight of server b is not within`
	if excluded.Service != "web" || excluded.Instance != "b" || excluded.Hostname != "host-b" ||
		!regexp.MustCompile(place).MatchString(excluded.Reason) {
		t.Errorf("got %+v, want the reason %s", excluded, place)
	}

	env.startInstance("mail", "m", 8003) // changes of other services are applied
	env.waitAnswer(8003, "m")
	load.wantNoFailures(t)
	env.eventually("healthy", env.healthy)
	if config := env.read("haproxy.cfg"); strings.Contains(config, "weight 300") {
		t.Errorf("the file has the excluded instance:\n%s", config)
	}
	if out := env.output("status"); !strings.Contains(out, "web/b on host-b: "+excluded.Reason) {
		t.Errorf("status does not list it:\n%s", out)
	}
	checked := `HAProxy rejects the configuration: ` + env.path("haproxy.cfg") +
		`:\d+ \(haproxy\.tmpl:14, service "web", instance "b" on host-b\): 'server web-8000/b' : weight`
	if out := env.output("check", "--state", env.sidecar.URL("/state.json")); !regexp.MustCompile(checked).MatchString(out) {
		t.Errorf("check says %s, want %s", out, checked)
	}
	if got := strings.Count(env.log.String(), "excluded, so that the rest can go live"); got != 1 {
		t.Errorf("the exclusion is logged %d times", got)
	}

	bad.Image = "web:200"
	env.sidecar.Add(bad)
	env.eventually("the corrected instance is applied", func() bool {
		return strings.Contains(env.read("haproxy.cfg"), "weight 200")
	})
	env.eventually("the API lists no exclusion", func() bool { return len(env.exclusions()) == 0 })
	env.eventually("the end is logged", func() bool { return strings.Contains(env.log.String(), "no longer excluded") })
	env.waitAnswer(8000, "a")
}

// listenTemplate has a statistics page, and a weight from the image by a function that fails without a colon.
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

// excludedNames returns the excluded services, or SERVICE/ID, in one string.
func (env *testEnv) excludedNames() string {
	var names []string
	for _, l := range env.exclusions() {
		names = append(names, strings.TrimSuffix(l.Service+"/"+l.Instance, "/"))
	}
	return strings.Join(names, " ")
}

func (env *testEnv) waitExcluded(names string) {
	env.t.Helper()
	env.eventually("excluded: "+names, func() bool { return env.excludedNames() == names })
	env.eventually("it is healthy", env.healthy)
}

// A service may request any port. The owner of a port keeps it, and all other services are applied, also after a cold start.
func TestExclusion_PortInUse(t *testing.T) {
	t.Parallel()
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
	twin := env.startInstance("web2", "b", 8000) // the service is newer than web
	env.waitExcluded("daemon stats taken web2")
	_ = other.Close()
	env.waitAnswer(8090, "t")
	env.waitExcluded("daemon stats web2")
	load.wantNoFailures(t)

	env.sidecar.Remove(twin.Hostname, twin.ID)
	env.waitExcluded("daemon stats")
}

func TestExclusion_TemplateFunctionFails(t *testing.T) {
	t.Parallel()
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
	env.eventually("the instance is applied", func() bool { return strings.Contains(env.read("haproxy.cfg"), "weight 7") })
}

// HAProxy reports at most 50 faults. Each document that is offered to the sink has a generation.
func TestExclusion_ThousandRejectedInstances(t *testing.T) {
	t.Parallel()
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
	env.eventually("all are excluded", func() bool { return env.pipeline().ExcludedCount == 1000 })
	env.startInstance("mail", "m", 8001)
	env.waitAnswer(8001, "m")
	load.wantNoFailures(t)
	env.eventually("healthy", env.healthy)
	if offered := env.pipeline().Generation; offered == 0 || offered > 6 {
		t.Errorf("%d documents were offered", offered)
	}
}

// Host names without an address exclude their instances, unless they are live already, and nothing else.
func TestExclusion_UnresolvedHostnames(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", strings.ReplaceAll(weightTemplate,
		`{{ ipFor $port . }}:{{ portFor $port . }} weight {{ .Version }}`,
		`{{ if eq .Version "7" }}{{ .ID }}.invalid{{ else }}{{ ipFor $port . }}{{ end }}:{{ portFor $port . }}`))
	good := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	for i := range 4 {
		bad := good
		bad.Name = fmt.Sprintf("unknown-%d", i%2)
		bad.ID, bad.Hostname, bad.Image = fmt.Sprintf("n%d", i), fmt.Sprintf("host-%d", i), "web:7"
		bad.Ports = []sdk.Port{{Type: "tcp", Port: 80, ServicePort: int64(8004 + i%2), IP: "127.0.0.1"}}
		env.sidecar.Add(bad)
	}
	env.startInstance("mail", "m", 8003)
	env.waitAnswer(8003, "m")
	env.eventually("the API lists them", func() bool { return len(env.exclusions()) == 4 })
	for _, left := range env.exclusions() {
		if !strings.HasPrefix(left.Service, "unknown-") {
			t.Errorf("%+v is excluded", left)
		}
	}
	env.waitAnswer(8000, "a")
	env.eventually("healthy", env.healthy)
}
