package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// A trial is a site under every kind of traffic while HAProxy is reloaded and changed.
type trial struct {
	*site
	spare   sdk.Instance // comes and goes in the service under load
	there   bool
	came    int // how often it came back
	news    int // services that came
	reloads int // that took place before the trial
	new     sdk.Instance
	loads   []*load
	streams []*stream
	part    func() // has the instance leave that all streams go to, and another one come
}

const (
	loadedPort  = 8000 // of the service under load
	streamsPort = 8001 // of the one that streams go to
	newPort     = 8100 // of the first of those that come and go
)

// newTrial starts everything and waits until all kinds of traffic flow. Whatever is replaced may stay for as long as a
// stream needs it.
func newTrial(t *testing.T, settings ...string) *trial {
	s := newSite(t, append(settings, `reload_interval = "0s"`, `drain_timeout = "10m"`)...)
	r := &trial{site: s}
	s.serve("web", "a", loadedPort)
	s.serve("web", "b", loadedPort)
	r.spare = s.serve("web", "c", loadedPort)
	r.there = true
	ended := make(chan struct{})
	backend := httptest.NewServer(sidestream{ended})
	t.Cleanup(backend.Close)
	one := sdk.Instance{
		ID: "one", Name: "streams", Hostname: "host-one", ProxyMode: "http", Image: "streams:1", Ports: []sdk.Port{{
			Type: "tcp", Port: int64(backend.Listener.Addr().(*net.TCPAddr).Port), ServicePort: streamsPort, IP: "127.0.0.1",
		}},
	}
	s.sidecar.Add(one)
	s.start()
	s.eventually("healthy", s.healthy)
	s.agrees()
	r.reloads = s.count("reloads")
	r.loads = []*load{s.load(loadedPort), s.keptLoad(loadedPort)}
	r.streams = []*stream{s.download(streamsPort, ended), s.socket(streamsPort)}
	for _, stream := range r.streams {
		s.eventually(stream.what+" flows", func() bool { return stream.moved.Load() > 0 })
	}
	r.part = func() {
		two := one
		two.ID, two.Hostname = "two", "host-two"
		s.sidecar.Burst(func(b *sidecartest.Batch) { b.Add(two); b.Remove(one.Hostname, one.ID) })
		s.converged()
	}
	return r
}

// change has an instance of the service under load go, or come back under another name.
func (r *trial) change() {
	if r.there = !r.there; !r.there {
		r.sidecar.Remove(r.spare.Hostname, r.spare.ID)
		return
	}
	r.came++
	r.spare.ID = fmt.Sprintf("c%d", r.came%8) // a Sidecar remembers all that there ever was
	r.sidecar.Add(r.spare)
}

// renew has a service with a port of its own come, and the one before go.
func (r *trial) renew() {
	before := r.new
	r.news++
	r.new = r.spare
	r.new.Name = fmt.Sprintf("new%d", r.news%8)
	r.new.ID = r.new.Name
	r.new.Ports = []sdk.Port{r.spare.Ports[0]}
	r.new.Ports[0].ServicePort = int64(newPort + r.news%2)
	r.sidecar.Burst(func(b *sidecartest.Batch) {
		b.Add(r.new)
		b.Remove(before.Hostname, before.ID)
	})
}

// unharmed ends all traffic and fails the test if any of it was harmed.
func (r *trial) unharmed(t *testing.T) {
	t.Helper()
	for _, load := range r.loads {
		load.unharmed(t)
	}
	for _, stream := range r.streams {
		stream.whole(t)
	}
}

// took wants so many reloads and changes at run time to have taken place, or more.
func (r *trial) took(t *testing.T, reloads, changes int) {
	t.Helper()
	reloaded, changed := r.count("reloads")-r.reloads, r.count("runtime_changes")
	t.Logf("%d reloads, %d changes at run time", reloaded, changed)
	if reloaded < reloads || changed < changes {
		t.Errorf("only %d reloads and %d changes at run time took place", reloaded, changed)
	}
}

func TestNoRequestIsLostUnderLoad(t *testing.T) {
	const reloads, changes = 200, 1000
	r := newTrial(t)
	for round := range reloads {
		r.renew()
		r.change() // on its own or together with the reload, as it happens
		r.converged()
		for range changes / reloads {
			r.change()
			r.converged()
		}
		if round == reloads/2 {
			r.part()
		}
	}
	r.agrees()
	r.unharmed(t)
	r.took(t, reloads, changes)
}

func TestNoRequestIsLostUnderLoadWithoutAMaster(t *testing.T) {
	const reloads = 30
	r := newTrial(t, `mode = "command"`)
	for range reloads {
		r.renew()
		r.converged()
		r.change()
		r.converged()
	}
	r.part()
	r.unharmed(t)
	r.took(t, reloads, reloads)
}

// What an instance that leaves has begun, it ends: here that takes until everything else is over.
func TestRequestsOnInstancesThatLeaveComplete(t *testing.T) {
	s := newSite(t, `drain_timeout = "10m"`)
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
			Type: "tcp", Port: int64(backend.Listener.Addr().(*net.TCPAddr).Port), ServicePort: loadedPort, IP: "127.0.0.1",
		}},
	}
	s.sidecar.Add(leaving)
	s.start()
	s.agrees()
	reloads := s.count("reloads")
	answers := make(chan string, 20)
	patient := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for range cap(answers) {
		go func() {
			answer, err := getBy(patient, fmt.Sprintf("http://%s:%d/", s.ip, loadedPort))
			if err != nil {
				answer = err.Error()
			}
			answers <- answer
		}()
	}
	for range cap(arrived) {
		<-arrived
	}
	s.serve("web", "a", loadedPort)
	s.sidecar.Remove(leaving.Hostname, leaving.ID)
	s.agrees()
	s.answered(loadedPort, "a")
	if !s.servers()["web-8000/host-slow-slow"].leaving {
		t.Errorf("the instance that leaves is not waited for: %v", s.servers())
	}
	finishNow()
	for range cap(answers) {
		if answer := <-answers; answer != "done" {
			t.Errorf("a request on the instance that left ended with %s", answer)
		}
	}
	s.eventually("it is gone", func() bool { return len(s.servers()) == 1 })
	if s.count("reloads") != reloads {
		t.Errorf("that took %d reloads", s.count("reloads")-reloads)
	}
}
