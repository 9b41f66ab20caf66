package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// patience is how long a test waits for what has to come. Nothing is measured by it.
const waitLimit = 60 * time.Second

var lastIP atomic.Uint32

// freshIP returns a loopback address that no other test uses, so that tests can use fixed ports. Processes that run at the same time
// differ in the second and third byte.
func freshIP() string {
	n, pid := int(lastIP.Add(1)), os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 16+(pid/250+n/250)%200, pid%250, 1+n%250)
}

// site is a daemon with its Sidecar, its backends and its HAProxy, all of them real processes or real servers.
type testEnv struct {
	t          testing.TB
	ip         string // where HAProxy listens
	folder     string
	config     string // the name of HAProxy's configuration in it
	sidecar    *sidecartest.Sidecar
	apiAddress string // the daemon's address
	cmd        *exec.Cmd
	env        []string // the daemon's; nil for ours
	log        *logFile

	template engine.Template // see wanted
}

// newSite prepares everything and starts nothing but the Sidecar. settings are lines for the table [haproxy].
func newTestEnv(t testing.TB, settings ...string) *testEnv {
	t.Helper()
	needHAProxy(t)
	return newTestEnvWith(t, os.Getenv("TEST_HAPROXY"), settings...)
}

// newTestEnvWith is newTestEnv with the HAProxy at that path; an empty path stands for the one in PATH.
func newTestEnvWith(t testing.TB, haproxy string, settings ...string) *testEnv {
	t.Helper()
	folder, err := os.MkdirTemp("", "ha") // short enough for the path of a unix socket
	if err != nil {
		t.Fatal(err)
	}
	env := &testEnv{t: t, ip: freshIP(), folder: folder, config: "haproxy.cfg"}
	env.apiAddress = net.JoinHostPort(env.ip, "7778")
	env.sidecar = sidecartest.New(sidecartest.Options{Listeners: []string{"http://" + env.apiAddress + "/update"}})
	if err := env.sidecar.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		env.kill()
		env.sidecar.Close()
		killHAProxyIn(folder)
		if t.Failed() && env.log != nil {
			t.Logf("the daemon's log:\n%s", env.log)
		}
		_ = os.RemoveAll(folder)
	})
	if haproxy != "" {
		settings = append([]string{fmt.Sprintf("binary = %q", haproxy)}, settings...)
	}
	content := fmt.Sprintf(`
[haproxy_api]
bind_ip = %q
bind_port = 7778
[sidecar]
state_url = %q
[haproxy]
bind_ip = %q
config_file = %q
pid_file = %q
%s
`, env.ip, env.sidecar.URL("/state.json"), env.ip, env.path("haproxy.cfg"), env.path("haproxy.pid"), strings.Join(settings, "\n"))
	env.write("haproxy-api.toml", content)
	return env
}

func (env *testEnv) path(name string) string { return filepath.Join(env.folder, name) }

func (env *testEnv) write(name, content string) {
	env.t.Helper()
	if err := os.WriteFile(env.path(name), []byte(content), 0o644); err != nil {
		env.t.Fatal(err)
	}
}

func (env *testEnv) read(name string) string {
	content, err := os.ReadFile(env.path(name))
	if err != nil {
		return ""
	}
	return string(content)
}

// start starts the daemon.
func (env *testEnv) start(args ...string) {
	env.t.Helper()
	env.log = &logFile{}
	env.cmd = exec.Command("haproxy-api", append([]string{"-f", env.path("haproxy-api.toml")}, args...)...)
	env.cmd.Dir, env.cmd.Env, env.cmd.Stdout, env.cmd.Stderr = env.folder, env.env, env.log, env.log
	env.cmd.WaitDelay = time.Second
	if err := env.cmd.Start(); err != nil {
		env.t.Fatal(err)
	}
}

// kill ends the daemon as a crash would.
func (env *testEnv) kill() {
	if env.cmd == nil {
		return
	}
	_ = env.cmd.Process.Kill()
	_ = env.cmd.Wait()
	env.cmd = nil
}

// stop ends the daemon in order.
func (env *testEnv) stop() {
	env.t.Helper()
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		env.t.Fatal(err)
	}
	if err := env.cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		env.t.Errorf("the daemon ended with %v", err)
	}
	env.cmd = nil
}

// serve starts an instance of a service, known to Sidecar, that answers with its id.
func (env *testEnv) startInstance(name, id string, servicePort int64) sdk.Instance {
	env.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, id) }))
	env.t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	instance := sdk.Instance{
		ID: id, Name: name, Hostname: "host-" + id, Image: name + ":1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: int64(port), ServicePort: servicePort, IP: "127.0.0.1"}},
	}
	env.sidecar.Add(instance)
	return instance
}

// health returns what GET /health answers; 0 stands for no answer at all.
func (env *testEnv) health() (int, string) {
	resp, err := http.Get("http://" + env.apiAddress + "/health")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func (env *testEnv) healthy() bool { code, _ := env.health(); return code == http.StatusOK }

// answered waits until HAProxy passes a request on that port to that instance.
func (env *testEnv) waitAnswer(servicePort int, by string) {
	env.t.Helper()
	env.eventually(fmt.Sprintf("port %d answers as %s", servicePort, by), func() bool {
		body, err := env.get(servicePort)
		return err == nil && body == by
	})
}

func (env *testEnv) eventually(what string, is func() bool) {
	env.t.Helper()
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	env.t.Fatalf("never: %s", what)
}

// logged waits for a word in the daemon's log.
func (env *testEnv) waitLogged(text string) {
	env.t.Helper()
	env.eventually("the log tells: "+text, func() bool { return strings.Contains(env.log.String(), text) })
}

func (env *testEnv) sighup() {
	env.t.Helper()
	if err := env.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		env.t.Fatal(err)
	}
}
