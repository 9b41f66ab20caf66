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

// waitLimit is how long a test waits for a condition. It is generous, because tests do not measure time.
const waitLimit = 60 * time.Second

var lastIP atomic.Uint32

// freshIP returns a loopback address that no other test uses, so that tests can use fixed ports. Processes that run at the same
// time differ in the second and third byte.
func freshIP() string {
	n, pid := int(lastIP.Add(1)), os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 16+(pid/250+n/250)%200, pid%250, 1+n%250)
}

// testEnv is a daemon with its own Sidecar, backends and HAProxy, which are real processes or servers, in a directory of its own.
// It is removed at the end of the test.
type testEnv struct {
	t          testing.TB
	ip         string // where HAProxy listens
	directory  string
	config     string // the name of HAProxy's configuration file in directory
	sidecar    *sidecartest.Sidecar
	apiAddress string // the daemon's address
	cmd        *exec.Cmd
	env        []string // the environment of the daemon and of commands; nil stands for that of the test
	log        *logFile

	template engine.Template // loaded by expectedDocument
}

// newTestEnv creates the directory and the configuration and starts the Sidecar. The daemon is started by start. settings are
// lines for the table [haproxy].
func newTestEnv(t testing.TB, settings ...string) *testEnv {
	t.Helper()
	needHAProxy(t)
	return newTestEnvWith(t, os.Getenv("TEST_HAPROXY"), settings...)
}

// newTestEnvWith is newTestEnv with the HAProxy at the path haproxy; an empty path stands for the one in PATH.
func newTestEnvWith(t testing.TB, haproxy string, settings ...string) *testEnv {
	t.Helper()
	directory, err := os.MkdirTemp("", "ha") // short enough for the path of a unix socket
	if err != nil {
		t.Fatal(err)
	}
	env := &testEnv{t: t, ip: freshIP(), directory: directory, config: "haproxy.cfg"}
	env.apiAddress = net.JoinHostPort(env.ip, "7778")
	env.sidecar = sidecartest.New(sidecartest.Options{Listeners: []string{"http://" + env.apiAddress + "/update"}})
	if err := env.sidecar.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		env.kill()
		env.sidecar.Close()
		killHAProxyIn(directory)
		if t.Failed() && env.log != nil {
			t.Logf("the daemon's log:\n%s", env.log)
		}
		_ = os.RemoveAll(directory)
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

func (env *testEnv) path(name string) string { return filepath.Join(env.directory, name) }

// write replaces a file. The daemon never reads a part of it, also if the test is interrupted.
func (env *testEnv) write(name, content string) {
	env.t.Helper()
	path, temporary, mode := env.path(name), env.directory+".new", os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	err := os.WriteFile(temporary, []byte(content), 0o600)
	if err := errors.Join(err, os.Chmod(temporary, mode), os.Rename(temporary, path)); err != nil {
		env.t.Fatal(err)
	}
}

// writeInPlace writes a file as some editors do: for a moment it is empty.
func (env *testEnv) writeInPlace(name, content string) {
	env.t.Helper()
	if err := os.WriteFile(env.path(name), []byte(content), 0o644); err != nil {
		env.t.Fatal(err)
	}
}

// writeProgram writes a program.
func (env *testEnv) writeProgram(name, content string) {
	env.t.Helper()
	writeProgram(env.t, env.path(name), content)
}

// writeProgram writes a program. Nothing is started meanwhile: a process that has inherited the open file for a moment would keep
// the program from being run ("text file busy").
func writeProgram(t testing.TB, path, content string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (env *testEnv) read(name string) string {
	content, err := os.ReadFile(env.path(name))
	if err != nil {
		return ""
	}
	return string(content)
}

// start starts the daemon with these arguments.
func (env *testEnv) start(args ...string) {
	env.t.Helper()
	env.startIn(env.directory, args...)
}

// startIn starts the daemon in that working directory.
func (env *testEnv) startIn(directory string, args ...string) {
	env.t.Helper()
	env.log = &logFile{}
	env.cmd = exec.Command("haproxy-api", append([]string{"-f", env.path("haproxy-api.toml")}, args...)...)
	env.cmd.Dir, env.cmd.Env, env.cmd.Stdout, env.cmd.Stderr = directory, env.env, env.log, env.log
	env.cmd.WaitDelay = time.Second
	if err := env.cmd.Start(); err != nil {
		env.t.Fatal(err)
	}
}

// kill kills the daemon. It does nothing if no daemon runs.
func (env *testEnv) kill() {
	if env.cmd == nil {
		return
	}
	_ = env.cmd.Process.Kill()
	_ = env.cmd.Wait()
	env.cmd = nil
}

// stop sends SIGTERM to the daemon and waits until it has exited with code 0.
func (env *testEnv) stop() {
	env.t.Helper()
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		env.t.Fatal(err)
	}
	if err := env.wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		env.t.Errorf("the daemon ended with %v", err)
	}
	env.cmd = nil
}

// wait waits until the daemon has exited, and kills it after waitLimit.
func (env *testEnv) wait() error {
	timer := time.AfterFunc(waitLimit, func() { _ = env.cmd.Process.Kill() })
	defer timer.Stop()
	return env.cmd.Wait()
}

// command returns a subcommand with the configuration of the environment. It is killed after waitLimit.
func (env *testEnv) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	env.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "haproxy-api", append([]string{"-f", env.path("haproxy-api.toml")}, args...)...)
	cmd.Dir, cmd.Env = env.directory, env.env // the path of a template is relative to the directory
	return cmd
}

// startInstance starts an HTTP server that answers with id, and adds it to the Sidecar as an instance of the service name.
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

// health returns the status code and the body of GET /health; the code is 0 if there is no answer.
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

// waitAnswer waits until HAProxy answers a request on that port with the text by.
func (env *testEnv) waitAnswer(servicePort int, by string) {
	env.t.Helper()
	env.eventually(fmt.Sprintf("port %d answers %q", servicePort, by), func() bool {
		body, err := env.get(servicePort)
		return err == nil && body == by
	})
}

// eventually polls the condition until it is true, and fails the test after waitLimit. The pauses grow, because conditions that
// read the processes of the machine or the whole log take processor time from what they wait for.
func (env *testEnv) eventually(what string, is func() bool) {
	env.t.Helper()
	const shortest, longest = 2 * time.Millisecond, 20 * time.Millisecond
	pause := shortest
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(pause) {
		if is() {
			return
		}
		pause = min(pause*5/4, longest)
	}
	env.t.Fatalf("still not after %v: %s", waitLimit, what)
}

// waitLogged waits until the daemon's log contains the text.
func (env *testEnv) waitLogged(text string) {
	env.t.Helper()
	env.eventually("the log contains "+text, func() bool { return strings.Contains(env.log.String(), text) })
}

func (env *testEnv) sighup() {
	env.t.Helper()
	if err := env.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		env.t.Fatal(err)
	}
}
