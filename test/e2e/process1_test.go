//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// startAsProcess1 starts the daemon as process 1 of a pid namespace of its own, as in a container.
func (env *testEnv) startAsProcess1() {
	env.t.Helper()
	env.log = &logFile{}
	env.cmd = exec.Command("sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc && exec haproxy-api -f "$0"`,
		env.path("haproxy-api.toml"))
	env.cmd.Dir, env.cmd.Stdout, env.cmd.Stderr, env.cmd.WaitDelay = env.directory, env.log, env.log, time.Second
	env.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		env.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		env.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		env.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := env.cmd.Start(); err != nil {
		env.t.Fatal(err)
	}
}

// A heldService is an instance that answers a request only when it is released.
type heldService struct {
	held    sync.WaitGroup // done when each expected request has arrived
	release func()
}

// startHeldService starts an instance of the service held, which expects that number of requests.
func (env *testEnv) startHeldService(servicePort int64, requests int) *heldService {
	released := make(chan struct{})
	s := &heldService{release: sync.OnceFunc(func() { close(released) })}
	s.held.Add(requests)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.held.Done()
		<-released
		fmt.Fprint(w, "held")
	}))
	env.t.Cleanup(server.Close)
	env.t.Cleanup(s.release)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	env.sidecar.Add(sdk.Instance{
		ID: "held", Name: "held", Hostname: "host-held", Image: "held:1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: int64(port), ServicePort: servicePort, IP: "127.0.0.1"}},
	})
	return s
}

// ask sends that number of requests at once. The function that it returns waits for the answers and returns the errors.
func (env *testEnv) ask(servicePort, requests int) (wait func() []error) {
	var wg sync.WaitGroup
	errs := make([]error, requests)
	for i := range requests {
		wg.Go(func() { _, errs[i] = env.get(servicePort) })
	}
	return func() []error { wg.Wait(); return errs }
}

// When process 1 of a container ends, the kernel kills all others. Therefore HAProxy finishes its requests first, although
// on_exit is "leave".
func TestProcess1_RequestsFinishBeforeTheEnd(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	const requests = 20
	service := env.startHeldService(8001, requests)
	env.startInstance("web", "a", 8000)
	env.startAsProcess1()
	env.waitAnswer(8000, "a")
	load := env.startLoad(8000)
	wait := env.ask(8001, requests)
	service.held.Wait()
	load.stop()
	if n := load.failed.Load(); n > 0 {
		t.Errorf("%d requests failed before the end: %v", n, load.lastFailure.Load())
	}
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	env.eventually("HAProxy accepts no more connections", func() bool {
		_, err := env.get(8000)
		return err != nil
	})
	time.Sleep(shutdownLimit) // a daemon that is not process 1 would have ended
	service.release()
	for _, err := range wait() {
		if err != nil {
			t.Error("a request that was in progress:", err)
		}
	}
	if err := env.wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	env.cmd = nil
	if strings.Contains(env.log.String(), "level=WARN msg=\"component did not stop cleanly\"") {
		t.Errorf("the log:\n%s", env.log)
	}
}

// drain_timeout bounds the wait.
func TestProcess1_DrainTimeout(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `drain_timeout = "100ms"`)
	service := env.startHeldService(8001, 1)
	env.startAsProcess1()
	env.eventually("the service is live", func() bool { return env.listens(8001) })
	wait := env.ask(8001, 1)
	service.held.Wait()
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := env.wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	env.cmd = nil
	if err := wait()[0]; err == nil {
		t.Error("the request that is not answered has an answer")
	}
}

// A second signal ends the daemon while a request is in progress.
func TestProcess1_SecondSignal(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `drain_timeout = "1h"`)
	service := env.startHeldService(8001, 1)
	env.startAsProcess1()
	env.eventually("the service is live", func() bool { return env.listens(8001) })
	wait := env.ask(8001, 1)
	service.held.Wait()
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	env.eventually("HAProxy accepts no more connections", func() bool { return !env.listens(8001) })
	if err := env.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := env.wait(); err == nil {
		t.Error("the daemon ended as if HAProxy had finished its requests")
	}
	env.cmd = nil
	if err := wait()[0]; err == nil {
		t.Error("the request that is not answered has an answer")
	}
}

// listens reports whether HAProxy accepts connections on that port.
func (env *testEnv) listens(servicePort int) bool {
	conn, err := net.Dial("tcp", net.JoinHostPort(env.ip, fmt.Sprint(servicePort)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
