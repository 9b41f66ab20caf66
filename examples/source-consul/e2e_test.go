package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// A registry is a Consul whose service web is changed by a test.
type registry interface {
	register(id string, port, servicePort int)
	maintain(id string) // puts an instance into maintenance
	deregister(id string)
}

// A service in Consul becomes a route in HAProxy, through this plugin and the daemon.
func TestEndToEnd(t *testing.T) {
	c := startConsul(t)
	checkEndToEnd(t, c.address, fakeRegistry{c})
}

// TestEndToEnd_RealConsul is the same with the program that TEST_CONSUL names. Debian has no Consul.
func TestEndToEnd_RealConsul(t *testing.T) {
	program := os.Getenv("TEST_CONSUL")
	if program == "" {
		t.Skip("TEST_CONSUL names no Consul")
	}
	c := startRealConsul(t, program)
	checkEndToEnd(t, c.address, c)
}

func checkEndToEnd(t *testing.T, consul string, r registry) {
	s := newTestEnv(t, consul)
	first, second := s.backend("hello from a"), s.backend("hello from b")
	_, text, _ := net.SplitHostPort(s.route)
	route, err := net.LookupPort("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	r.register("a", first, route)
	s.answers("hello from a")
	s.healthy()

	r.register("b", second, route)
	r.maintain("a")
	s.answers("hello from b")
	r.deregister("a")
	r.register("b", first, route) // at another port
	s.answers("hello from a")

	r.deregister("b")
	s.eventually("the route is gone", func() bool {
		_, err := s.get(s.route)
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	r.register("a", second, route)
	s.answers("hello from b")

	s.stop()
	if _, err := s.get(s.route); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("HAProxy was to stop with the daemon, and answers %v", err)
	}
}

// fakeRegistry changes the service web of a fakeConsul.
type fakeRegistry struct{ *fakeConsul }

func (f fakeRegistry) register(id string, port, servicePort int) {
	e := passing("web", "node-1", id, port)
	e.Service.Meta = map[string]string{metaServicePort: fmt.Sprint(servicePort)}
	f.replace(id, e)
}

func (f fakeRegistry) maintain(id string) {
	f.mu.Lock()
	var before api.ServiceEntry
	for _, e := range f.services["web"] {
		if e.Service.ID == id {
			before = *e
		}
	}
	f.mu.Unlock()
	before.Checks = entry("web", "node-1", id, 0, api.HealthMaint).Checks
	f.replace(id, &before)
}

func (f fakeRegistry) deregister(id string) { f.replace(id) }

// replace replaces the instance with that ID.
func (f fakeRegistry) replace(id string, by ...*api.ServiceEntry) {
	f.mu.Lock()
	for _, e := range f.services["web"] {
		if e.Service.ID != id {
			by = append(by, e)
		}
	}
	f.mu.Unlock()
	f.set("web", by...)
}

// A realConsul is an agent in development mode.
type realConsul struct {
	*testing.T
	address string
	agent   *api.Agent
}

func startRealConsul(t *testing.T, program string) *realConsul {
	t.Helper()
	c := &realConsul{T: t, address: freeAddress(t)}
	ip, port, _ := net.SplitHostPort(c.address)
	cmd := exec.Command(program, "agent", "-dev", "-node", "node-1", "-bind", ip, "-client", ip, "-http-port", port,
		"-dns-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1", "-log-level", "warn")
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	settings := api.DefaultConfig()
	settings.Address = c.address
	client, err := api.NewClient(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(settings.Transport.CloseIdleConnections)
	c.agent = client.Agent()
	eventually(t, "Consul has a leader", func() bool {
		leader, err := client.Status().Leader()
		return err == nil && leader != ""
	})
	return c
}

func (c *realConsul) check(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *realConsul) register(id string, port, servicePort int) {
	c.Helper()
	c.check(c.agent.ServiceRegister(&api.AgentServiceRegistration{
		Name: "web", ID: id, Port: port, Address: "127.0.0.1", Meta: map[string]string{metaServicePort: fmt.Sprint(servicePort)},
	}))
}

func (c *realConsul) maintain(id string) {
	c.Helper()
	c.check(c.agent.EnableServiceMaintenance(id, "a test"))
}

func (c *realConsul) deregister(id string) {
	c.Helper()
	c.check(c.agent.ServiceDeregister(id))
}

// A testEnv is a daemon with a Consul as its registry and an HAProxy as its proxy.
type testEnv struct {
	*testing.T
	directory  string
	api, route string // addresses
	daemon     *exec.Cmd
	log        logBuffer
}

func newTestEnv(t *testing.T, consul string) *testEnv {
	t.Helper()
	s := &testEnv{T: t, directory: t.TempDir(), api: freeAddress(t), route: freeAddress(t)}
	s.build("../..", "haproxy-api", "./cmd/haproxy-api")
	s.build(".", "haproxy-api-source-consul", ".")
	s.configure(consul)
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

func (s *testEnv) configure(consul string) {
	s.Helper()
	apiIP, apiPort, _ := net.SplitHostPort(s.api)
	routeIP, _, _ := net.SplitHostPort(s.route)
	content := fmt.Sprintf(`
plugin_dir = %q

[haproxy_api]
bind_ip = %q
bind_port = %s

[sources.catalogue]
type = "consul"
address = %q

[sinks.edge]
type = "haproxy"
binary = %q
config_file = %q
pid_file = %q
on_exit = "stop"

[pipelines.edge]
source = "catalogue"
sink = "edge"
bind_ip = %q
`, s.directory, apiIP, apiPort, consul, haproxyBinary(s.T), s.path("haproxy.cfg"), s.path("haproxy.pid"), routeIP)
	if err := os.WriteFile(s.path("haproxy-api.toml"), []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

// haproxyBinary returns the path of HAProxy, which Debian installs outside of the PATH of ordinary users.
func haproxyBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{cmp.Or(os.Getenv("TEST_HAPROXY"), "haproxy"), "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs HAProxy: install the package haproxy")
	return ""
}

func (s *testEnv) path(name string) string { return filepath.Join(s.directory, name) }

// backend starts a server with that response and returns its port.
func (s *testEnv) backend(answer string) int {
	s.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	s.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}

func (s *testEnv) get(address string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
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
	s.eventually("HAProxy answers "+want, func() bool {
		got, err := s.get(s.route)
		return err == nil && got == want
	})
}

func (s *testEnv) healthy() {
	s.Helper()
	s.eventually("the daemon is healthy", func() bool { // HAProxy may answer before the daemon has recorded that
		_, err := s.get(s.api + "/health")
		return err == nil
	})
}

func (s *testEnv) eventually(what string, is func() bool) {
	s.Helper()
	eventually(s.T, what, is)
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

// end ends the daemon, and with it HAProxy, also after a failed test.
func (s *testEnv) end() {
	if s.daemon.ProcessState == nil {
		_ = s.daemon.Process.Signal(syscall.SIGTERM)
		_ = s.daemon.Wait()
	}
	if s.Failed() {
		s.Logf("the daemon's log:\n%s", s.log.String())
	}
}
