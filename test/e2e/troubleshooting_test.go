package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// symptoms are the headings of the section Troubleshooting in docs/operations.md, in their order. Each function provokes the
// symptom, runs the commands that the document names, and looks for what they show according to the document.
var symptoms = []struct {
	heading string
	provoke func(*testing.T)
}{
	{"A service answers 503", symptomService503},
	{"A new instance gets no traffic", symptomNoTraffic},
	{"Every change reloads HAProxy", symptomEveryChangeReloads},
	{"A template edit has no effect", symptomTemplateWithoutEffect},
	{"The health check answers 500", symptomHealth500},
	{"A snapshot is held", symptomHeld},
	{"HAProxy does not start", symptomHAProxyDoesNotStart},
	{"A port is in use", symptomPortInUse},
	{"Permission denied", symptomPermissionDenied},
	{"A plugin restarts", symptomPluginRestarts},
	{"Pushes are refused", symptomPushRefused},
	{"The status is degraded", symptomDegraded},
	{"Memory grows", symptomMemoryGrows},
	{"Changes take effect slowly", symptomSlow},
}

func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(operations), "\n## Troubleshooting\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, tested []string
	for _, match := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(section, -1) {
		documented = append(documented, match[1])
	}
	for _, s := range symptoms {
		tested = append(tested, s.heading)
		t.Run(strings.ReplaceAll(s.heading, " ", "_"), func(t *testing.T) { t.Parallel(); s.provoke(t) })
	}
	if !slices.Equal(documented, tested) {
		t.Errorf("the section Troubleshooting has the headings\n%q, want\n%q", documented, tested)
	}
}

// shows waits until a command prints all the words, and logs the output.
func (env *testEnv) shows(args string, words ...string) {
	env.t.Helper()
	var out []byte
	defer func() { env.t.Logf("haproxy-api %s\n%s", args, out) }()
	env.eventually(fmt.Sprintf("%s shows %q", args, words), func() bool {
		out, _ = env.command(strings.Fields(args)...).CombinedOutput() // many exit with 1
		return !slices.ContainsFunc(words, func(word string) bool { return !bytes.Contains(out, []byte(word)) })
	})
}

// An instanceRow is an instance of the API.
type instanceRow struct {
	ID, Status string
	Servers    []struct{ Status string }
}

// waitInstance waits until the API has exactly one instance for the query, and returns it.
func (env *testEnv) waitInstance(query string) instanceRow {
	env.t.Helper()
	var page struct{ Instances []instanceRow }
	env.eventually("one instance with "+query, func() bool {
		page.Instances = nil
		env.getJSON("/api/v1/pipelines/haproxy/instances?"+query, &page)
		return len(page.Instances) == 1
	})
	return page.Instances[0]
}

// symptomService503 has an instance that is alive in the catalogue and does not listen.
func symptomService503(t *testing.T) {
	env := newStartedEnv(t)
	gone := env.startInstance("gone", "g", 8001)
	gone.Ports[0].Port = 1
	env.sidecar.Add(gone)
	env.eventually("HAProxy answers 503", func() bool {
		resp, err := http.Get("http://" + net.JoinHostPort(env.ip, "8001"))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	var is instanceRow
	env.eventually("HAProxy reports the server", func() bool {
		is = env.waitInstance("service=gone")
		return len(is.Servers) == 1
	})
	if is.Status != "alive" || is.Servers[0].Status != "no check" {
		t.Errorf("the instance is %+v", is)
	}
}

// symptomNoTraffic has instances that are quarantined, excluded and not alive.
func symptomNoTraffic(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", weightTemplate)
	one := env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	for id, change := range map[string]func(*sdk.Instance){
		"quarantined": func(i *sdk.Instance) { i.Hostname = "not a name" },
		"excluded":    func(i *sdk.Instance) { i.Image = "web:300" },
		"unhealthy":   func(i *sdk.Instance) { i.Status = sdk.Unhealthy },
	} {
		i := one
		i.ID, i.Hostname = id, "host-"+id
		change(&i)
		env.sidecar.Add(i)
	}
	for _, status := range []string{"quarantined", "excluded", "unhealthy"} {
		if is := env.waitInstance("status=" + status); is.ID != status {
			t.Errorf("the instance that is %s is %+v", status, is)
		}
	}
	env.shows("status", "1 excluded", "1 quarantined", "1 unhealthy")
}

// symptomEveryChangeReloads has a backend whose servers HAProxy cannot add.
func symptomEveryChangeReloads(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "1ms"`)
	const servers = "{{- range $instances }}"
	env.write("haproxy.tmpl", strings.Replace(weightTemplate, servers, "  balance source\n"+servers, 1))
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.startInstance("web", "b", 8000)
	env.eventually("a reload", func() bool { return env.reloads() > 0 })
	env.shows("explain --reload", "reload", "balance source")
	env.shows("history --action reload", "reload", "push")
}

// symptomTemplateWithoutEffect saves a template that is not valid.
func symptomTemplateWithoutEffect(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", weightTemplate)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.write("haproxy.tmpl", weightTemplate+"\n{{ nonsense }}\n")
	env.shows("status", "template refused", "haproxy.tmpl:", `"nonsense"`)
	env.shows("check", "haproxy.tmpl:", `"nonsense"`)
}

// symptomHealth500 has a template that names a certificate that does not exist.
func symptomHealth500(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", strings.Replace(weightTemplate, ":{{ $port }}\n", ":{{ $port }} ssl crt missing.pem\n", 1))
	env.startInstance("web", "a", 8000)
	env.start()
	env.eventually("500 with the reasons", func() bool {
		code, body := env.health()
		return code == http.StatusInternalServerError && strings.Contains(body, "HAProxy is not running")
	})
	env.shows("status", "unhealthy", "missing.pem")
}

// symptomHeld restarts Sidecar, which then knows only its own node.
func symptomHeld(t *testing.T) {
	env := newTestEnv(t)
	env.start("--set", "sidecar.hold=10m", "--set", "sidecar.resync_interval=1s")
	for i := range 12 {
		env.startInstance("web", fmt.Sprint(i), 8000)
	}
	env.eventually("all are known", func() bool { _, status := env.status(); return aliveIn(status) == 12 })
	env.sidecar.Restart()
	env.shows("status", "snapshot held", "/api/v1/pipelines/haproxy/release")
	if code := env.post("/api/v1/pipelines/haproxy/release"); code != http.StatusOK {
		t.Errorf("release: %d", code)
	}
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

// symptomHAProxyDoesNotStart has a chroot that does not exist, which HAProxy's check accepts.
func symptomHAProxyDoesNotStart(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`)
	env.write("haproxy.tmpl", strings.Replace(weightTemplate, "global\n", "global\n  chroot "+env.path("missing")+"\n", 1))
	env.startInstance("web", "a", 8000)
	env.start()
	env.shows("status", "unhealthy", "newest document not applied", "Cannot chroot")
	env.shows("explain", "Cannot chroot")
	if err := os.Mkdir(env.path("missing"), 0o755); err != nil {
		t.Fatal(err)
	}
	env.waitAnswer(8000, "a") // it is tried again
	env.wantStatus(server.StateHealthy, "", 0, nil)
}

// symptomPortInUse has another process on the port of a service, and a second daemon on that of the first.
func symptomPortInUse(t *testing.T) {
	env := newStartedEnv(t)
	other, err := net.Listen("tcp", net.JoinHostPort(env.ip, "8090"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	env.startInstance("taken", "t", 8090)
	env.shows("status", "excluded", "8090", fmt.Sprintf("process %d", os.Getpid()))
	if code, out := env.runSecondDaemon(); code != 1 || !strings.Contains(out, "is managed by another haproxy-api (process") {
		t.Errorf("a second daemon with the same file: %d %s", code, out)
	}
	if err := os.Mkdir(env.path("second"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, out := env.runSecondDaemon("--set", "haproxy_api.bind_port=7778",
		"--set", "haproxy.config_file="+env.path("second/haproxy.cfg"),
		"--set", "haproxy.pid_file="+env.path("second/haproxy.pid"))
	if code != 1 || !strings.Contains(out, "haproxy_api.bind_port") {
		t.Errorf("a second daemon with the same port: %d %s", code, out)
	}
}

// symptomPermissionDenied runs check as a user that cannot write the directory of the configuration file.
func symptomPermissionDenied(t *testing.T) {
	needRoot(t)
	env := newTestEnv(t)
	path, err := exec.LookPath("haproxy-api")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{env.directory, filepath.Dir(path)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env.startInstance("web", "a", 8000)
	for _, args := range [][]string{{"check"}, nil} {
		cmd := env.command(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		t.Logf("haproxy-api %s: %v\n%s", args, err, out)
		if code := exitCode(t, err); code == 0 || !strings.Contains(string(out), "permission denied") {
			t.Errorf("haproxy-api %s: exit code %d\n%s", args, code, out)
		}
	}
}

// symptomPluginRestarts kills the plugin of the sink.
func symptomPluginRestarts(t *testing.T) {
	env := newStartedEnv(t)
	worker := env.workerPID()
	_ = syscall.Kill(env.pluginPID(), syscall.SIGKILL)
	env.eventually("the restart is counted", func() bool {
		return strings.HasSuffix(env.metric("haproxy_api_plugin_restarts_total"), " 1")
	})
	env.shows("status", "haproxy  healthy ", "plugin_last_end", "plugin_restarts 1")
	env.waitLogged("plugin ended, restarting")
	if env.workerPID() != worker {
		t.Error("HAProxy was restarted too")
	}
}

// symptomPushRefused pushes without the token, too much, and from an address that is not allowed.
func symptomPushRefused(t *testing.T) {
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start("--set", "haproxy_api.update_token=secret", "--set", "haproxy_api.max_body=1000")
	env.waitAnswer(8000, "a")
	push := func(url string, size int) int {
		resp, err := http.Post(url, "application/json", strings.NewReader(strings.Repeat(" ", size)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if code := push("http://"+env.apiAddress+"/update", 10); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	if code := push("http://x:secret@"+env.apiAddress+"/update", 10); code != http.StatusBadRequest {
		t.Errorf("an empty body: %d", code)
	}
	if code := push("http://x:secret@"+env.apiAddress+"/update", 2000); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", code)
	}
	env.editConfig("[haproxy_api]\n", "[haproxy_api]\nallow_from = [\"192.0.2.0/24\"]\n")
	env.eventually("403", func() bool { return push("http://x:secret@"+env.apiAddress+"/update", 10) == http.StatusForbidden })
	env.eventually("both denials are logged", func() bool {
		log := env.log.String()
		return strings.Contains(log, "no token or a wrong one") && strings.Contains(log, "an address outside allow_from")
	})
}

// symptomDegraded stops the Sidecar that is followed.
func symptomDegraded(t *testing.T) {
	env := newTestEnv(t)
	env.startInstance("web", "a", 8000)
	env.start("--follow", env.sidecar.Address())
	env.waitAnswer(8000, "a")
	env.sidecar.Close()
	env.shows("status", "degraded", "source problem")
}

// symptomMemoryGrows has a connection that keeps the worker from before a reload.
func symptomMemoryGrows(t *testing.T) {
	env := newTestEnv(t, `reload_interval = "1ms"`, `drain_timeout = "10m"`)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	conn, err := net.Dial("tcp", net.JoinHostPort(env.ip, "8000"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	env.startInstance("api", "b", 8001)
	env.waitAnswer(8001, "b")
	env.shows("status", "old_workers_count 1")
	env.eventually("the metric is 1", func() bool {
		return strings.HasSuffix(env.metric("haproxy_api_haproxy_old_workers"), " 1")
	})
}

// symptomSlow has two changes that need a reload within reload_interval.
func symptomSlow(t *testing.T) {
	env := newTestEnv(t, `reload_interval = "10m"`)
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(8000, "a")
	env.startInstance("api", "b", 8001) // the first reload happens immediately
	env.waitAnswer(8001, "b")
	env.startInstance("chat", "c", 8002)
	env.shows("status", "haproxy  healthy ", "waiting ", "reload deferred by reload_interval")
	env.shows("explain", "deferred", "reload_interval")
}
