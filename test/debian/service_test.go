//go:build linux

package debian_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/debiantest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// waitLimit bounds the wait for a condition. It is generous, because other tests may use the processors.
const waitLimit = 2 * time.Minute

// service is the service haproxy-api in a machine, with the instances that HAProxy sends requests to.
type service struct {
	*debiantest.Machine
	lifecycle *testing.T // of all steps
	sidecar   *sidecartest.Sidecar
	client    *http.Client // opens a connection for each request
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{
		lifecycle: t,
		Machine:   debiantest.New(t, "systemd", "systemd-sysv", "dbus", "haproxy", "ca-certificates", "curl"),
		sidecar:   sidecartest.New(sidecartest.Options{}),
	}
	s.client = &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.Dial}}
	for _, version := range []string{firstVersion, secondVersion} {
		s.Copy(t, buildPackage(t, version, "deb"), "/root/"+version+".deb")
	}
	return s
}

// boot boots the machine. The journal is logged if the test fails.
func (s *service) boot(t *testing.T) {
	t.Helper()
	s.Boot(t)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := s.Run(context.Background(),
				"systemctl status --no-pager haproxy-api; journalctl --no-pager -n 100 -u haproxy-api; ls -la /run/haproxy-api")
			t.Log(out)
		}
	})
}

// serveInstance serves an instance of a service, which answers with its port.
func (s *service) serveInstance(t *testing.T, port int) {
	t.Helper()
	s.serve(t, port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, port) }))
}

// serve serves HTTP at 127.0.0.1:port in the machine until the lifecycle ends.
func (s *service) serve(t *testing.T, port int, handler http.Handler) {
	t.Helper()
	server := &httptest.Server{
		Listener: s.Listen(t, fmt.Sprintf("127.0.0.1:%d", port)), Config: &http.Server{Handler: handler},
	}
	server.Start()
	s.lifecycle.Cleanup(server.Close)
}

// push adds an instance to Sidecar and sends its state as Sidecar does.
func (s *service) push(t *testing.T, name string, port, servicePort int64) {
	t.Helper()
	s.sidecar.Add(sdk.Instance{
		ID: fmt.Sprint(name, "-", port), Name: name, Hostname: "host-1", Image: name + ":1", ProxyMode: "http",
		Ports: []sdk.Port{{Type: "tcp", Port: port, ServicePort: servicePort, IP: "127.0.0.1"}},
	})
	state := httptest.NewRecorder()
	s.sidecar.ServeHTTP(state, httptest.NewRequest(http.MethodGet, "/state.json", nil))
	body := fmt.Sprintf(`{"State":%s,"ChangeEvent":{}}`, state.Body)
	s.eventually(t, "the push is accepted", func() bool {
		resp, err := s.client.Post("http://127.0.0.1:7778/update", "application/json", strings.NewReader(body))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// get sends a request over a new connection.
func (s *service) get(url string) (*http.Response, string, error) { return get(s.client, url) }

func get(client *http.Client, url string) (*http.Response, string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return resp, string(body), err
}

// waitAnswer waits until HAProxy answers at that port with a text.
func (s *service) waitAnswer(t *testing.T, port int, want string) {
	t.Helper()
	s.eventually(t, fmt.Sprintf("port %d answers %q", port, want), func() bool {
		_, body, err := s.get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		return err == nil && body == want
	})
}

// status are the parts of GET /api/v1/status that the tests read.
type status struct {
	State     string `json:"state"`
	Version   string `json:"version"`
	Pipelines []struct {
		Templates []string `json:"templates"`
	} `json:"pipelines"`
}

func (s *service) status() (st status) {
	if _, body, err := s.get("http://127.0.0.1:7778/api/v1/status"); err == nil {
		_ = json.Unmarshal([]byte(body), &st)
	}
	return st
}

// show returns a property of a unit.
func (s *service) show(t *testing.T, unit, property string) string {
	t.Helper()
	return strings.TrimSpace(s.MustRun(t, fmt.Sprintf("systemctl show --value --property=%s %s", property, unit)))
}

// wantShow checks properties of the service.
func (s *service) wantShow(t *testing.T, want map[string]string) {
	t.Helper()
	for property, value := range want {
		if got := s.show(t, "haproxy-api", property); got != value {
			t.Errorf("%s is %q, want %q", property, got, value)
		}
	}
}

// waitShow waits until a property of the service has a value.
func (s *service) waitShow(t *testing.T, property, want string) {
	t.Helper()
	s.waitShowFunc(t, property, want, func(value string) bool { return value == want })
}

// waitShowFunc waits until a property of the service has a value that is as wanted.
func (s *service) waitShowFunc(t *testing.T, property, want string, is func(value string) bool) {
	t.Helper()
	value := ""
	defer func() {
		if t.Failed() {
			t.Logf("%s is %q", property, value)
		}
	}()
	s.eventually(t, fmt.Sprintf("%s is %s", property, want), func() bool {
		value = s.show(t, "haproxy-api", property)
		return is(value)
	})
}

// master returns the pid of HAProxy's master in the machine.
func (s *service) master(t *testing.T) int {
	t.Helper()
	content := s.MustRun(t, "cat /run/haproxy-api/haproxy.pid")
	pid, err := strconv.Atoi(strings.Fields(content)[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (s *service) eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", waitLimit, what)
		}
	}
}

// files returns all files of the machine except those of the kernel, of running processes and of the packaging system.
func (s *service) files(t *testing.T) []string {
	t.Helper()
	const list = `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /root ` +
		`-o -path /var/log/journal -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache \) -prune ` +
		`-o -printf '%y %m %u %g %p\n'`
	return strings.Split(strings.TrimSpace(s.MustRun(t, list)), "\n")
}

// load sends requests until it is stopped and counts those that fail.
type load struct {
	requests, failed atomic.Int64
	lastFailure      atomic.Value
	stop             func()
}

// startLoad starts clients that send requests to a port, some of which open a connection for each request.
func (s *service) startLoad(t *testing.T, port int) *load {
	t.Helper()
	keepAlive := &http.Transport{DialContext: s.Dial, MaxIdleConnsPerHost: 4}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{}
	var running sync.WaitGroup
	for _, client := range []*http.Client{s.client, s.client, {Timeout: waitLimit, Transport: keepAlive},
		{Timeout: waitLimit, Transport: keepAlive}} {
		running.Go(func() {
			for ctx.Err() == nil {
				l.requests.Add(1)
				if _, _, err := get(client, fmt.Sprintf("http://127.0.0.1:%d/", port)); err != nil {
					l.failed.Add(1)
					l.lastFailure.Store(err)
				}
				time.Sleep(5 * time.Millisecond) // bounds the load
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		keepAlive.CloseIdleConnections()
	})
	t.Cleanup(l.stop)
	return l
}

func (l *load) wantNoFailures(t *testing.T) {
	t.Helper()
	l.stop()
	t.Logf("%d requests, %d failed", l.requests.Load(), l.failed.Load())
	if l.failed.Load() > 0 || l.requests.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with: %v", l.failed.Load(), l.requests.Load(), l.lastFailure.Load())
	}
}

// difference returns the lines of each list that the other one lacks.
func difference(before, after []string) (removed, added []string) {
	set := func(all []string) map[string]bool {
		m := map[string]bool{}
		for _, line := range all {
			m[line] = true
		}
		return m
	}
	old, present := set(before), set(after)
	for _, line := range slices.Sorted(maps.Keys(old)) {
		if !present[line] {
			removed = append(removed, line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(present)) {
		if !old[line] {
			added = append(added, line)
		}
	}
	return removed, added
}
