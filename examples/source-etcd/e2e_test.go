package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A key in etcd becomes a route in nginx, through this plugin, the daemon and the plugin sink-nginx. All processes are real,
// except for the service behind the route.
func TestEndToEnd(t *testing.T) {
	s := newTestEnv(t)
	s.etcd.put("/services/web/node-1/a", s.backend("hello from a"))
	s.answers("hello from a")

	s.etcd.put("/services/web/node-2/b", "nonsense") // an invalid value must have no effect
	s.etcd.put("/services/web/node-1/a", s.backend("hello from another a"))
	s.answers("hello from another a")
	s.healthy()

	s.etcd.delete("/services/web/node-1/a")
	s.eventually("the route is gone", func() bool {
		_, err := s.get(s.route)
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	s.etcd.put("/services/web/node-1/a", s.backend("hello again"))
	s.answers("hello again")

	s.stop()
	if _, err := s.get(s.route); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nginx was to stop with the daemon, and answers %v", err)
	}
}

// A testEnv is a daemon with an etcd as its registry and an nginx as its proxy.
type testEnv struct {
	*testing.T
	etcd       *etcd
	directory  string
	api, route string // addresses
	daemon     *exec.Cmd
	log        logBuffer
}

func newTestEnv(t *testing.T) *testEnv {
	t.Helper()
	s := &testEnv{T: t, etcd: startEtcd(t), directory: t.TempDir(), api: freeAddress(t), route: freeAddress(t)}
	s.build("../..", "haproxy-api", "./cmd/haproxy-api")
	s.build(".", "haproxy-api-source-etcd", ".")
	s.build("../sink-nginx", "haproxy-api-sink-nginx", ".")
	s.configure()
	s.daemon = exec.Command(s.path("haproxy-api"), "-f", s.path("haproxy-api.toml"))
	s.daemon.Dir, s.daemon.Stdout, s.daemon.Stderr = s.directory, &s.log, &s.log
	s.daemon.WaitDelay = 5 * time.Second
	if err := s.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

func (s *testEnv) build(module, program, of string) {
	s.Helper()
	build := exec.Command("go", "build", "-o", s.path(program), of)
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%s cannot be built: %v\n%s", program, err, out)
	}
}

func (s *testEnv) configure() {
	s.Helper()
	template, err := filepath.Abs("../sink-nginx/nginx.tmpl")
	if err != nil {
		s.Fatal(err)
	}
	apiIP, apiPort, _ := net.SplitHostPort(s.api)
	routeIP, _, _ := net.SplitHostPort(s.route)
	content := fmt.Sprintf(`
plugin_dir = %q

[haproxy_api]
bind_ip = %q
bind_port = %s

[sources.catalogue]
type = "etcd"
endpoints = [%q]

[sinks.web]
type = "nginx"
binary = %q
config_file = %q
reload_timeout = "1m"
on_exit = "stop"

[pipelines.web]
source = "catalogue"
sink = "web"
template = %q
bind_ip = %q
vars = { workers = 1 }
`, s.directory, apiIP, apiPort, "http://"+s.etcd.address, nginxBinary(s.T), s.path("nginx.conf"), template, routeIP)
	if err := os.WriteFile(s.path("haproxy-api.toml"), []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

// nginxBinary returns the path of nginx, which Debian installs outside of the PATH of ordinary users.
func nginxBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs nginx: install the package nginx-light or nginx")
	return ""
}

func (s *testEnv) path(name string) string { return filepath.Join(s.directory, name) }

// backend starts a server with that response, and returns the value for its key.
func (s *testEnv) backend(answer string) string {
	s.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	s.Cleanup(server.Close)
	backend := server.Listener.Addr().(*net.TCPAddr)
	_, port, _ := net.SplitHostPort(s.route)
	return fmt.Sprintf(`{"ports": [{"port": %d, "servicePort": %s, "ip": %q}]}`, backend.Port, port, backend.IP)
}

func (s *testEnv) get(address string) (string, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

func (s *testEnv) answers(want string) {
	s.Helper()
	s.eventually("nginx answers "+want, func() bool {
		got, err := s.get(s.route)
		return err == nil && got == want
	})
}

func (s *testEnv) healthy() {
	s.Helper()
	s.eventually("the daemon is healthy", func() bool {
		_, err := s.get(s.api + "/health")
		return err == nil
	})
}

func (s *testEnv) eventually(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	s.Fatalf("never: %s", what)
}

// stop stops the daemon gracefully.
func (s *testEnv) stop() {
	s.Helper()
	if err := s.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	if err := s.daemon.Wait(); err != nil {
		s.Errorf("the daemon ended with %v", err)
	}
}

// end ends all processes, also after a failed test.
func (s *testEnv) end() {
	if s.daemon.ProcessState == nil {
		_ = s.daemon.Process.Kill()
		_ = s.daemon.Wait()
	}
	if content, err := os.ReadFile(s.path("nginx.pid")); err == nil {
		if master, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && master > 1 {
			_ = syscall.Kill(master, syscall.SIGTERM)
			s.eventually("nginx ends", func() bool {
				title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", master)) // empty for a zombie too
				return len(title) == 0
			})
		}
	}
	if s.Failed() {
		s.Logf("the daemon's log:\n%s", s.log.String())
	}
}
