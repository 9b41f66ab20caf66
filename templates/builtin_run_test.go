package templates

import (
	"context"
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

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The configuration of the built-in template starts without services, in both ways in which HAProxy is run.

func TestBuiltin_RunsAsDaemon(t *testing.T) {
	f := newFixture(t)
	f.save(t, sdk.Snapshot{})
	f.haproxy(t, "-p", f.pidFile)
	f.save(t, f.snap)
	f.haproxy(t, "-p", f.pidFile, "-sf", f.pid(t))
	f.awaitAnswer(t)
}

func TestBuiltin_RunsInMasterWorkerMode(t *testing.T) {
	f := newFixture(t)
	f.save(t, sdk.Snapshot{})
	socket := filepath.Join(filepath.Dir(f.config), "master.sock")
	master := exec.CommandContext(t.Context(), haproxyProgram(), "-W", "-db", "-S", socket, "-f", f.config)
	master.Cancel = func() error { return master.Process.Signal(syscall.SIGTERM) }
	must(t, master.Start())
	t.Cleanup(func() { _ = master.Wait() })
	eventually(t, "an answer of the worker", func() bool { return strings.Contains(ask(socket, "@1 show info"), "Uptime") })
	f.save(t, f.snap)
	must(t, master.Process.Signal(syscall.SIGUSR2))
	f.awaitAnswer(t)
}

// ask sends one command to the socket of a master and returns the answer, or "" if there is none. Up to HAProxy 3.0 a master
// that starts or reloads executes itself again, which ends its connections.
func ask(socket, command string) string {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket})
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, command+"\n")
	_ = conn.CloseWrite() // else HAProxy waits for more
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// A fixture is one HTTP service and the files of an HAProxy before it.
type fixture struct {
	set             *Set
	snap            sdk.Snapshot
	config, pidFile string
	url             string
}

func newFixture(t *testing.T) *fixture {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(service.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err, free.Close())

	host, port, err := net.SplitHostPort(service.Listener.Addr().String())
	must(t, err)
	inst := instance("web", "node-1", "1", int64(free.Addr().(*net.TCPAddr).Port))
	inst.Ports[0].IP = host
	inst.Ports[0].Port, err = strconv.ParseInt(port, 10, 64)
	must(t, err)
	dir := t.TempDir()
	return &fixture{
		// The socket that is used without services is shared by the whole machine unless it has another name.
		set:  New(Config{BindIP: "127.0.0.1", Vars: map[string]any{"idle_bind": dir + "/idle.sock"}}),
		snap: snapshot(inst), config: dir + "/haproxy.cfg", pidFile: dir + "/pid", url: "http://" + free.Addr().String(),
	}
}

func (f *fixture) save(t *testing.T, snap sdk.Snapshot) {
	t.Helper()
	out, _ := mustRender(t, mustLoad(t, f.set), snap)
	replace(t, f.config, out)
}

func (f *fixture) haproxy(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), haproxyProgram(), append([]string{"-f", f.config}, args...)...)
	// Into a file: the daemon would keep a pipe open, and Wait would block as long as it runs.
	log, err := os.Create(f.config + ".log")
	must(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(f.config + ".log")
		t.Fatalf("haproxy: %v\n%s", err, said)
	}
	pid, err := strconv.Atoi(f.pid(t))
	must(t, err)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
}

func (f *fixture) pid(t *testing.T) string {
	t.Helper()
	pid, err := os.ReadFile(f.pidFile)
	must(t, err)
	return strings.TrimSpace(string(pid))
}

func (f *fixture) awaitAnswer(t *testing.T) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "an answer through HAProxy", func() bool {
		answer, err := client.Get(f.url)
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return string(body) == "hello"
	})
}

// eventually waits until the condition is true.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !yes() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not come", what)
		case <-again.C:
		}
	}
}
