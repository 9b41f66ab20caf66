package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

func TestTemplate_SavedFileIsApplied(t *testing.T) {
	t.Parallel()
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
	env.eventually("the edit is applied", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://%s:8000/", env.ip))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.Header.Get("X-Edit") == "yes"
	})
	took := time.Since(began).Round(time.Millisecond)
	env.eventually("the change is logged", func() bool { return lastLine(env.log, "trigger=template") != "" })
	t.Logf("applied %s after the save; of that check and reload: %s", took, lastLine(env.log, "trigger=template"))

	good := env.read("haproxy.cfg")
	env.write("haproxy.tmpl", template("{{ nonsense }}"))
	env.eventually("the fault is logged", func() bool {
		return strings.Contains(env.log.String(), "haproxy.tmpl:13:6")
	})
	env.write("haproxy.tmpl", template("http-response nonsense"))
	env.eventually("HAProxy's message is logged", func() bool {
		return strings.Contains(env.log.String(), "http-response nonsense") ||
			strings.Contains(env.log.String(), "'nonsense'")
	})
	if diff := cmp.Diff(good, env.read("haproxy.cfg")); diff != "" {
		t.Errorf("a broken template changed the configuration (-want +got)\n%s", diff)
	}
	env.eventually("healthy, because the applied document is valid", env.healthy)
	env.startInstance("web", "b", 8000) // rendered by the last accepted template
	env.waitAnswer(8000, "b")
}

// HAProxy's check accepts a template that makes it bind an address in use.
func TestTemplate_AddressInUse(t *testing.T) {
	t.Parallel()
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
	env.eventually("the fault is logged", func() bool {
		return strings.Contains(env.log.String(), "HAProxy cannot bind "+env.ip+":8999")
	})
	env.startInstance("chat", "c", 8001) // changes of the catalogue are applied with the previous template
	env.waitAnswer(8001, "c")
	load.wantNoFailures(t)
	env.eventually("healthy, because the applied document is valid", env.healthy)
}

// An edited template passes HAProxy's check and then keeps a new worker from starting. HAProxy is interrupted once at most, and
// changes of the catalogue are applied with the previous template.
func TestTemplate_HAProxyCannotLoad(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	env.write("haproxy.tmpl", templateRevision(4))
	env.startInstance("web", "web-1", 8000)
	env.start()
	env.waitAnswer(8000, "web-1")
	env.eventually("healthy", env.healthy)

	missing := env.path("nowhere")
	env.write("haproxy.tmpl", strings.Replace(templateRevision(8), "global\n", "global\n  chroot "+missing+"\n", 1))
	refused := func(p server.Pipeline) bool { return strings.Contains(p.TemplateError, missing) }
	env.waitPipeline("has a template error with HAProxy's words", refused)
	env.waitAnswer(8000, "web-1")
	var masters []int // from HAProxy 3.1 on, the first reload after a failed one starts another
	for i, port := range []int64{8001, 8002, 8003} {
		id := []string{"chat-1", "shop-1", "news-1"}[i]
		env.startInstance(strings.TrimSuffix(id, "-1"), id, port)
		env.waitAnswer(int(port), id)
		masters = append(masters, env.masterPID())
	}
	if slices.Max(masters) != slices.Min(masters) {
		t.Errorf("HAProxy's master was restarted: %v", masters)
	}
	env.waitPipeline("still has the template error, and is healthy otherwise", func(p server.Pipeline) bool {
		return refused(p) && len(p.Problems) == 0
	})
	if shown := env.servedRevision(8000); shown != "4" {
		t.Errorf("revision %s is applied", shown)
	}
	env.write("haproxy.tmpl", templateRevision(12))
	env.eventually("the corrected template is applied", func() bool { return env.servedRevision(8000) == "12" })
	env.waitPipeline("has no template error", func(p server.Pipeline) bool { return p.TemplateError == "" })
}

// HAProxy loads an edited template and ends a moment later. The previous template is applied again and stays.
func TestTemplate_EndsHAProxyAfterLoad(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	env.write("haproxy.tmpl", templateRevision(4))
	env.startInstance("web", "web-1", 8000)
	env.start()
	env.waitAnswer(8000, "web-1")
	env.eventually("healthy", env.healthy)
	env.eventually("HAProxy has run long enough that its end is no longer attributed to the last change", func() bool {
		_, uptime, _ := strings.Cut(env.askHAProxy("haproxy.master.sock", "@1 show info"), "Uptime_sec: ")
		seconds, _, _ := strings.Cut(uptime, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(seconds))
		return err == nil && n > 11
	})

	line, end := env.endingHAProxy(7)
	env.write("haproxy.tmpl", strings.Replace(templateRevision(8), "global\n", "global\n"+line, 1))
	env.eventually("the edit is applied", func() bool { return env.servedRevision(8000) == "8" })
	env.waitGenerationApplied()
	end()
	env.waitPipeline("has a template error", func(p server.Pipeline) bool { return p.TemplateError != "" })
	env.waitAnswer(8000, "web-1")
	if shown := env.servedRevision(8000); shown != "4" {
		t.Errorf("revision %s is applied", shown)
	}
	master := env.masterPID()
	env.startInstance("chat", "chat-1", 8001)
	env.waitAnswer(8001, "chat-1")
	if now := env.masterPID(); now != master {
		t.Errorf("HAProxy's master %d was restarted as %d", master, now)
	}
	env.eventually("healthy", env.healthy)
}
