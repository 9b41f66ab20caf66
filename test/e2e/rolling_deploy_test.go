package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

const (
	deployServices  = 50
	deployFirstPort = 8000 // the port of the first service
	deployChanges   = 1000
	deploySamples   = 60 // how often the running servers are compared
)

// version09Template returns the default template of haproxy-api 0.9 with the addresses and paths of the test environment. It does
// not render the time, so that documents can be compared by their digest.
func (env *testEnv) version09Template() string {
	env.t.Helper()
	content, err := os.ReadFile("../../templates/testdata/older-default.cfg")
	if err != nil {
		env.t.Fatal(err)
	}
	return strings.NewReplacer("{{ now }}", "some time ago", "0.0.0.0:", env.ip+":",
		"/var/run/haproxy_stats.sock", env.path("stats.sock")).Replace(string(content))
}

func TestRollingDeploy_TakesNoReload(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `drain_timeout = "2s"`)
	env.write("haproxy.tmpl", env.version09Template())
	d := newRollingDeploy(env)
	env.start()
	env.eventually("healthy", env.healthy)
	env.waitInSync()
	master, worker, reloads := env.masterPID(), env.workerPID(), env.fact("reloads")
	load := env.startLoad(deployFirstPort)
	for sample := range deploySamples {
		for d.changes < deployChanges*(sample+1)/deploySamples {
			d.burst()
			env.waitApplied()
		}
		env.wantServers(env.subcommandOutput("render", "--state", env.sidecar.URL("/state.json")))
		if t.Failed() {
			t.Fatalf("after %d changes", d.changes)
		}
	}
	load.wantNoFailures(t)
	env.waitInSync()
	env.eventually("removed servers are gone", func() bool { return len(env.servers()) == len(env.servers().serving()) })
	t.Logf("%d changes (%v), %d servers at the end, %d compared moments: %d reloads, %d changes at run time",
		d.changes, d.kinds, len(env.servers()), deploySamples, env.fact("reloads")-reloads, env.fact("runtime_changes"))
	if env.fact("reloads") != reloads || env.masterPID() != master || env.workerPID() != worker {
		t.Errorf("reloads went from %d to %d, the master from %d to %d, the worker from %d to %d",
			reloads, env.fact("reloads"), master, env.masterPID(), worker, env.workerPID())
	}
}

// A rollingDeploy replaces instances and changes their status, but leaves each service at least one living instance.
type rollingDeploy struct {
	env     *testEnv
	ports   []int64 // of the backends
	rand    *rand.Rand
	changes int
	kinds   map[string]int
	next    int // the number of the next instance
	members [deployServices][]*sdk.Instance
}

// newRollingDeploy starts with four instances of each service.
func newRollingDeploy(env *testEnv) *rollingDeploy {
	d := &rollingDeploy{env: env, rand: rand.New(rand.NewPCG(1, 2)), kinds: map[string]int{}}
	for range 8 {
		answering := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		env.t.Cleanup(answering.Close)
		d.ports = append(d.ports, int64(answering.Listener.Addr().(*net.TCPAddr).Port))
	}
	env.sidecar.Quietly(func(b *sidecartest.Batch) {
		for service := range deployServices {
			for range 4 {
				d.add(b, service)
			}
		}
	})
	return d
}

// burst makes a few changes in one push.
func (d *rollingDeploy) burst() {
	d.env.sidecar.Burst(func(b *sidecartest.Batch) {
		for range 1 + d.rand.IntN(9) {
			d.change(b, d.rand.IntN(deployServices))
		}
	})
}

func (d *rollingDeploy) change(b *sidecartest.Batch, service int) {
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
		d.changes += d.count("added")
		d.add(b, service)
	case kind == 1 && spare:
		d.changes += d.count("removed")
		d.remove(b, service, one)
	case kind == 2 && one.Status == sdk.Alive && spare:
		d.changes += d.count("drained")
		d.setStatus(b, one, sdk.Draining)
	case kind == 3 && one.Status == sdk.Alive && spare:
		d.changes += d.count("unhealthy")
		d.setStatus(b, one, sdk.Unhealthy)
	case one.Status != sdk.Alive && kind < 5:
		d.changes += d.count("back")
		d.setStatus(b, one, sdk.Alive)
	default: // which are two changes
		d.changes += d.count("replaced") + 1
		d.add(b, service)
		d.remove(b, service, one)
	}
}

func (d *rollingDeploy) count(kind string) int {
	d.kinds[kind]++
	return 1
}

func (d *rollingDeploy) add(b *sidecartest.Batch, service int) {
	d.next++
	one := &sdk.Instance{
		ID: fmt.Sprintf("id%05d", d.next), Name: fmt.Sprintf("service-%d", service), Image: "image:1",
		Hostname: fmt.Sprintf("node-%d", d.next%7), ProxyMode: "http", Status: sdk.Alive,
		Ports: []sdk.Port{{
			Type: "tcp", Port: d.ports[d.next%len(d.ports)], ServicePort: int64(deployFirstPort + service), IP: "127.0.0.1",
		}},
	}
	d.members[service] = append(d.members[service], one)
	b.Add(*one)
}

func (d *rollingDeploy) setStatus(b *sidecartest.Batch, one *sdk.Instance, status sdk.Status) {
	one.Status = status
	b.SetStatus(one.Hostname, one.ID, status)
}

func (d *rollingDeploy) remove(b *sidecartest.Batch, service int, one *sdk.Instance) {
	d.setStatus(b, one, sdk.Tombstone)
	var left []*sdk.Instance
	for _, i := range d.members[service] {
		if i != one {
			left = append(left, i)
		}
	}
	d.members[service] = left
}
