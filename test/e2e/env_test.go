package e2e_test

import (
	"bytes"
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
	"strconv"
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
const patience = 60 * time.Second

var lastIP atomic.Uint32

// freshIP returns an address of loopback that no other test of this run uses, so that fixed ports do not meet.
func freshIP() string {
	n := lastIP.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 20+os.Getpid()%200, n/250, 1+n%250)
}

// site is a daemon with its Sidecar, its backends and its HAProxy, all of them real processes or real servers.
type site struct {
	t       testing.TB
	ip      string // where HAProxy listens
	folder  string
	config  string // the name of HAProxy's configuration in it
	sidecar *sidecartest.Sidecar
	api     string // the daemon's address
	cmd     *exec.Cmd
	env     []string // the daemon's; nil for ours
	log     *logFile

	template engine.Template // see wanted
}

// newSite prepares everything and starts nothing but the Sidecar. settings are lines for the table [haproxy].
func newSite(t testing.TB, settings ...string) *site {
	t.Helper()
	needHAProxy(t)
	folder, err := os.MkdirTemp("", "ha") // short enough for the path of a unix socket
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, ip: freshIP(), folder: folder, config: "haproxy.cfg"}
	s.api = net.JoinHostPort(s.ip, "7778")
	s.sidecar = sidecartest.New(sidecartest.Options{Listeners: []string{"http://" + s.api + "/update"}})
	if err := s.sidecar.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		s.sidecar.Close()
		stopLeftHAProxy(folder)
		if t.Failed() && s.log != nil {
			t.Logf("the daemon's log:\n%s", s.log)
		}
		_ = os.RemoveAll(folder)
	})
	if binary := os.Getenv("TEST_HAPROXY"); binary != "" {
		settings = append([]string{fmt.Sprintf("binary = %q", binary)}, settings...)
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
`, s.ip, s.sidecar.URL("/state.json"), s.ip, s.path("haproxy.cfg"), s.path("haproxy.pid"), strings.Join(settings, "\n"))
	s.write("haproxy-api.toml", content)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.folder, name) }

func (s *site) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	content, err := os.ReadFile(s.path(name))
	if err != nil {
		return ""
	}
	return string(content)
}

// start starts the daemon.
func (s *site) start(args ...string) {
	s.t.Helper()
	s.log = &logFile{}
	s.cmd = exec.Command("haproxy-api", append([]string{"-f", s.path("haproxy-api.toml")}, args...)...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.folder, s.env, s.log, s.log
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// kill ends the daemon as a crash would.
func (s *site) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// stop ends the daemon in order.
func (s *site) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		s.t.Errorf("the daemon ended with %v", err)
	}
	s.cmd = nil
}

// serve starts an instance of a service, known to Sidecar, that answers with its id.
func (s *site) serve(name, id string, servicePort int64) sdk.Instance {
	s.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, id) }))
	s.t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	instance := sdk.Instance{
		ID: id, Name: name, Hostname: "host-" + id, Image: name + ":1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: int64(port), ServicePort: servicePort, IP: "127.0.0.1"}},
	}
	s.sidecar.Add(instance)
	return instance
}

// health returns what GET /health answers; 0 stands for no answer at all.
func (s *site) health() (int, string) {
	resp, err := http.Get("http://" + s.api + "/health")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func (s *site) healthy() bool { code, _ := s.health(); return code == http.StatusOK }

// answered waits until HAProxy passes a request on that port to that instance.
func (s *site) answered(servicePort int, by string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("port %d answers as %s", servicePort, by), func() bool {
		body, err := s.get(servicePort)
		return err == nil && body == by
	})
}

func (s *site) eventually(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	s.t.Fatalf("never: %s", what)
}

// masterPID returns the process id in HAProxy's pid file; 0 for none.
func (s *site) masterPID() int {
	pid, _ := strconv.Atoi(strings.TrimSpace(s.read("haproxy.pid")))
	return pid
}

// workerPID returns the current worker, the master's newest child.
func (s *site) workerPID() int {
	newest, began := 0, 0
	for _, pid := range childrenOf(s.masterPID()) {
		// Process ids begin anew at some time, so the highest is not always the last.
		if at := beganAt(pid); at >= began {
			newest, began = pid, at
		}
	}
	return newest
}

// pluginPID returns the process of the default plugin.
func (s *site) pluginPID() int {
	for _, pid := range childrenOf(s.cmd.Process.Pid) {
		if strings.Contains(commandLine(pid), "plugin haproxy") {
			return pid
		}
	}
	return 0
}

func childrenOf(parent int) []int {
	var children []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue // it ended meanwhile
		}
		fields := statFields(content)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) && fields[0] != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			children = append(children, pid)
		}
	}
	return children
}

// statFields are the fields after the name, which may hold anything but ends with the last parenthesis.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// beganAt returns when the process began, in ticks since the machine did.
func beganAt(pid int) int {
	const began = 19 // of the fields after the name
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := statFields(stat); err == nil && len(fields) > began {
		ticks, _ := strconv.Atoi(fields[began])
		return ticks
	}
	return 0
}

func commandLine(pid int) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(content), "\x00", " "))
}

// stopLeftHAProxy kills every HAProxy whose command line names the folder.
func stopLeftHAProxy(folder string) {
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, entry := range entries {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if line := commandLine(pid); strings.Contains(line, "haproxy ") && strings.Contains(line, folder+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
