package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

const (
	rolledServices = 50
	rolledFrom     = 8000 // the first one's port
	rolledChanges  = 1000
	rolledSamples  = 60 // moments at which what runs is compared
)

// olderTemplate is the older haproxy-api's own template, with addresses and paths of the site's in the place of the machine's.
// It does not tell the time, so that a document is known by its digest.
func (s *site) olderTemplate() string {
	s.t.Helper()
	content, err := os.ReadFile("../../templates/testdata/older-default.cfg")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.NewReplacer("{{ now }}", "some time ago", "0.0.0.0:", s.ip+":",
		"/var/run/haproxy_stats.sock", s.path("stats.sock")).Replace(string(content))
}

func TestARollingDeployTakesNoReload(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`, `drain_timeout = "2s"`)
	s.write("haproxy.tmpl", s.olderTemplate())
	d := newDeploy(s)
	s.start()
	s.eventually("healthy", s.healthy)
	s.agrees()
	master, worker, reloads := s.masterPID(), s.workerPID(), s.count("reloads")
	load := s.load(rolledFrom)
	for sample := range rolledSamples {
		for d.made < rolledChanges*(sample+1)/rolledSamples {
			d.burst()
			s.converged()
		}
		s.runs(s.renderedBy("render", "--state", s.sidecar.URL("/state.json")))
		if t.Failed() {
			t.Fatalf("after %d changes", d.made)
		}
	}
	load.unharmed(t)
	s.agrees()
	s.eventually("nobody who left is still there", func() bool { return len(s.servers()) == len(s.servers().serving()) })
	t.Logf("%d changes (%v), %d servers at the end, %d compared moments: %d reloads, %d changes at run time",
		d.made, d.kinds, len(s.servers()), rolledSamples, s.count("reloads")-reloads, s.count("runtime_changes"))
	if s.count("reloads") != reloads || s.masterPID() != master || s.workerPID() != worker {
		t.Errorf("reloads went from %d to %d, the master from %d to %d, the worker from %d to %d",
			reloads, s.count("reloads"), master, s.masterPID(), worker, s.workerPID())
	}
}

// renderedBy is the standard output of a subcommand.
func (s *site) renderedBy(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("haproxy-api", append([]string{"-f", s.path("haproxy-api.toml")}, args...)...)
	cmd.Dir = s.folder
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

// A deploy replaces and disturbs instances, but leaves each service at least one that is alive.
type deploy struct {
	s       *site
	ports   []int64 // where instances answer
	rand    *rand.Rand
	made    int
	kinds   map[string]int
	next    int // the next id
	members [rolledServices][]*sdk.Instance
}

// newDeploy begins with four instances of each service.
func newDeploy(s *site) *deploy {
	d := &deploy{s: s, rand: rand.New(rand.NewPCG(1, 2)), kinds: map[string]int{}}
	for range 8 {
		answering := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.t.Cleanup(answering.Close)
		d.ports = append(d.ports, int64(answering.Listener.Addr().(*net.TCPAddr).Port))
	}
	s.sidecar.Quietly(func(b *sidecartest.Batch) {
		for service := range rolledServices {
			for range 4 {
				d.add(b, service)
			}
		}
	})
	return d
}

// burst makes a few changes at once.
func (d *deploy) burst() {
	d.s.sidecar.Burst(func(b *sidecartest.Batch) {
		for range 1 + d.rand.IntN(9) {
			d.change(b, d.rand.IntN(rolledServices))
		}
	})
}

func (d *deploy) change(b *sidecartest.Batch, service int) {
	one := d.members[service][d.rand.IntN(len(d.members[service]))]
	alive := 0
	for _, i := range d.members[service] {
		if i.Status == sdk.Alive {
			alive++
		}
	}
	spare := alive > 1 || one.Status != sdk.Alive
	switch kind := d.rand.IntN(6); {
	case kind == 0 && len(d.members[service]) < 8:
		d.made += d.count("added")
		d.add(b, service)
	case kind == 1 && spare:
		d.made += d.count("removed")
		d.remove(b, service, one)
	case kind == 2 && one.Status == sdk.Alive && spare:
		d.made += d.count("drained")
		d.turn(b, one, sdk.Draining)
	case kind == 3 && one.Status == sdk.Alive && spare:
		d.made += d.count("unhealthy")
		d.turn(b, one, sdk.Unhealthy)
	case one.Status != sdk.Alive && kind < 5:
		d.made += d.count("back")
		d.turn(b, one, sdk.Alive)
	default: // two changes
		d.made += d.count("replaced") + 1
		d.add(b, service)
		d.remove(b, service, one)
	}
}

func (d *deploy) count(kind string) int {
	d.kinds[kind]++
	return 1
}

func (d *deploy) add(b *sidecartest.Batch, service int) {
	d.next++
	one := &sdk.Instance{
		ID: fmt.Sprintf("id%05d", d.next), Name: fmt.Sprintf("service-%d", service), Image: "image:1",
		Hostname: fmt.Sprintf("node-%d", d.next%7), ProxyMode: "http", Status: sdk.Alive,
		Ports: []sdk.Port{{
			Type: "tcp", Port: d.ports[d.next%len(d.ports)], ServicePort: int64(rolledFrom + service), IP: "127.0.0.1",
		}},
	}
	d.members[service] = append(d.members[service], one)
	b.Add(*one)
}

func (d *deploy) turn(b *sidecartest.Batch, one *sdk.Instance, status sdk.Status) {
	one.Status = status
	b.SetStatus(one.Hostname, one.ID, status)
}

func (d *deploy) remove(b *sidecartest.Batch, service int, one *sdk.Instance) {
	d.turn(b, one, sdk.Tombstone)
	var left []*sdk.Instance
	for _, i := range d.members[service] {
		if i != one {
			left = append(left, i)
		}
	}
	d.members[service] = left
}
