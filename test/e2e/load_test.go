package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// A loadTest sends every kind of traffic while HAProxy is reloaded and changed at run time.
type loadTest struct {
	*testEnv
	spare                sdk.Instance // added and removed in the service under load
	present              bool
	returned             int // how often it was added again
	serviceCount         int // how many services were added
	reloads              int // before the test
	service              sdk.Instance
	loads                []*load
	streams              []*stream
	replaceStreamBackend func() // replaces the instance that all streams go to
}

const (
	loadPort            = 8000 // the port of the service under load
	streamsPort         = 8001 // the port of the service of the streams
	replacedServicePort = 8100 // the port of the first service that is replaced
)

// newLoadTest starts everything and waits until each kind of traffic flows. Replaced workers and servers may stay as long as a
// stream needs them.
func newLoadTest(t *testing.T, settings ...string) *loadTest {
	env := newTestEnv(t, append(settings, `reload_interval = "0s"`, `drain_timeout = "10m"`)...)
	l := &loadTest{testEnv: env}
	env.startInstance("web", "a", loadPort)
	env.startInstance("web", "b", loadPort)
	l.spare = env.startInstance("web", "c", loadPort)
	l.present = true
	ended := make(chan struct{})
	backend := httptest.NewServer(streamBackend{ended})
	t.Cleanup(backend.Close)
	one := sdk.Instance{
		ID: "one", Name: "streams", Hostname: "host-one", ProxyMode: "http", Image: "streams:1", Ports: []sdk.Port{{
			Type: "tcp", Port: int64(backend.Listener.Addr().(*net.TCPAddr).Port), ServicePort: streamsPort, IP: "127.0.0.1",
		}},
	}
	env.sidecar.Add(one)
	env.start()
	env.eventually("healthy", env.healthy)
	env.waitInSync()
	l.reloads = env.fact("reloads")
	l.loads = []*load{env.startLoad(loadPort), env.startKeepAliveLoad(loadPort)}
	l.streams = []*stream{env.startDownload(streamsPort, ended), env.startWebSocket(streamsPort)}
	for _, stream := range l.streams {
		env.eventually(stream.kind+" flows", func() bool { return stream.transferred.Load() > 0 })
	}
	l.replaceStreamBackend = func() {
		two := one
		two.ID, two.Hostname = "two", "host-two"
		env.sidecar.Burst(func(b *sidecartest.Batch) { b.Add(two); b.Remove(one.Hostname, one.ID) })
		env.waitApplied()
	}
	return l
}

// toggleSpare removes an instance of the service under load, or adds it under another name.
func (l *loadTest) toggleSpare() {
	if l.present = !l.present; !l.present {
		l.sidecar.Remove(l.spare.Hostname, l.spare.ID)
		return
	}
	l.returned++
	l.spare.ID = fmt.Sprintf("c%d", l.returned%8) // bounded, because a Sidecar remembers all instances
	l.sidecar.Add(l.spare)
}

// replaceService adds a service with its own port and removes the previous one.
func (l *loadTest) replaceService() {
	before := l.service
	l.serviceCount++
	l.service = l.spare
	l.service.Name = fmt.Sprintf("new%d", l.serviceCount%8)
	l.service.ID = l.service.Name
	l.service.Ports = []sdk.Port{l.spare.Ports[0]}
	l.service.Ports[0].ServicePort = int64(replacedServicePort + l.serviceCount%2)
	l.sidecar.Burst(func(b *sidecartest.Batch) {
		b.Add(l.service)
		b.Remove(before.Hostname, before.ID)
	})
}

// wantNoFailures ends all traffic and fails the test if any of it failed.
func (l *loadTest) wantNoFailures(t *testing.T) {
	t.Helper()
	for _, load := range l.loads {
		load.wantNoFailures(t)
	}
	for _, stream := range l.streams {
		stream.wantIntact(t)
	}
}

// wantCounts fails the test if there were fewer reloads or changes at run time.
func (l *loadTest) wantCounts(t *testing.T, reloads, changes int) {
	t.Helper()
	reloaded, changed := l.fact("reloads")-l.reloads, l.fact("runtime_changes")
	t.Logf("%d reloads, %d changes at run time", reloaded, changed)
	if reloaded < reloads || changed < changes {
		t.Errorf("only %d reloads and %d changes at run time took place", reloaded, changed)
	}
}

func TestLoad_NoRequestIsLost(t *testing.T) {
	t.Parallel()
	const reloads, changes = 200, 1000
	l := newLoadTest(t)
	for round := range reloads {
		l.replaceService()
		l.toggleSpare() // alone or together with the reload
		l.waitApplied()
		for range changes / reloads {
			l.toggleSpare()
			l.waitApplied()
		}
		if round == reloads/2 {
			l.replaceStreamBackend()
		}
	}
	l.waitInSync()
	l.wantNoFailures(t)
	l.wantCounts(t, reloads, changes)
}

func TestLoad_NoRequestIsLostWithoutMaster(t *testing.T) {
	t.Parallel()
	const reloads = 30
	l := newLoadTest(t, `mode = "command"`)
	for range reloads {
		l.replaceService()
		l.waitApplied()
		l.toggleSpare()
		l.waitApplied()
	}
	l.replaceStreamBackend()
	l.wantNoFailures(t)
	l.wantCounts(t, reloads, reloads)
}

// Requests on a removed instance complete, however long they take.
func TestLoad_RemovedInstanceDrains(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `drain_timeout = "10m"`)
	arrived, finish := make(chan string, 20), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(backend.Close)
	finishNow := sync.OnceFunc(func() { close(finish) })
	t.Cleanup(finishNow)
	leaving := sdk.Instance{
		ID: "slow", Name: "web", Hostname: "host-slow", ProxyMode: "http", Image: "web:1", Ports: []sdk.Port{{
			Type: "tcp", Port: int64(backend.Listener.Addr().(*net.TCPAddr).Port), ServicePort: loadPort, IP: "127.0.0.1",
		}},
	}
	env.sidecar.Add(leaving)
	env.start()
	env.waitInSync()
	reloads := env.fact("reloads")
	answers := make(chan string, 20)
	patient := &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	for range cap(answers) {
		go func() {
			answer, err := getBy(patient, fmt.Sprintf("http://%s:%d/", env.ip, loadPort))
			if err != nil {
				answer = err.Error()
			}
			answers <- answer
		}()
	}
	for range cap(arrived) {
		select {
		case <-arrived:
		case <-time.After(waitLimit):
			t.Fatal("a request did not arrive")
		}
	}
	env.startInstance("web", "a", loadPort)
	env.sidecar.Remove(leaving.Hostname, leaving.ID)
	env.waitInSync()
	env.waitAnswer(loadPort, "a")
	if !env.servers()["web-8000/host-slow-slow"].draining {
		t.Errorf("the removed server is not draining: %v", env.servers())
	}
	finishNow()
	for range cap(answers) {
		if answer := <-answers; answer != "done" {
			t.Errorf("a request on the removed instance ended with %s", answer)
		}
	}
	env.eventually("the server is removed", func() bool { return len(env.servers()) == 1 })
	if env.fact("reloads") != reloads {
		t.Errorf("that took %d reloads", env.fact("reloads")-reloads)
	}
}
