package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/mounttest"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var (
	chaosFor  = flag.Duration("chaos", 25*time.Second, "for how long TestChaos injects faults")
	chaosSeed = flag.Uint64("chaos.seed", 1, "the seed of TestChaos; the same seed injects the same faults in the same order")
	chaosOnly = flag.String("chaos.only", "", "a regular expression: TestChaos injects only faults whose name it matches")
)

const (
	chaosServices       = 6
	chaosMaxInstances   = 30 // the number of backends
	chaosMinInstances   = 20 // so that two true catalogues never differ by as much as the guard holds back
	chaosFixedInstances = 12 // are always in the catalogue, so that each service has two instances
	chaosPort           = 8001
	stepsPerCheck       = 40 // steps
)

// chaos injects faults into one test environment and checks its invariants.
type chaos struct {
	env     *testEnv
	sidecar *faultySidecar
	rand    *rand.Rand
	only    *regexp.Regexp // selects the faults

	pool        []sdk.Instance
	inCatalogue []bool // whether each instance of pool is in the true catalogue
	disk        string

	mounted map[string]bool // the files that are mount points

	config string // the valid configuration

	invariants         *invariants
	injected           map[string]int
	activeFaults       []func() // functions that end the active faults
	template           int      // the number of the last valid template
	rejection          string   // part of the error with which HAProxy fails to load the saved template; empty if it is valid
	clusters           int
	variants           int
	environment        int // the number of the environment in the templates
	inputs             int // the number of the content of the input file
	past               []sdk.Snapshot
	slowestConvergence time.Duration // the longest time until the true state was applied after the faults had ended
}

// TestChaos injects faults of every kind in an order that the seed determines. Meanwhile requests to living instances are
// answered, and each applied document is what an accepted template renders for a snapshot that the daemon may use. Each time that
// all faults have ended, the true state is applied soon afterwards.
//
// It does not run in parallel: other tests would take the time in which the daemon has to recover.
func TestChaos(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	c := newChaos(t)
	end := time.Now().Add(*chaosFor)
	for steps := 1; time.Now().Before(end) || steps <= stepsPerCheck; steps++ {
		c.step()
		if steps%stepsPerCheck == 0 {
			c.endFaultsAndCheck()
		}
	}
	c.endFaultsAndCheck()
	c.report(t)
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "200ms"`, `drain_timeout = "2s"`)
	c := &chaos{
		env: env, sidecar: newFaultySidecar(), rand: rand.New(rand.NewPCG(*chaosSeed, 0)), injected: map[string]int{},
		mounted:     map[string]bool{},
		inCatalogue: make([]bool, chaosMaxInstances), only: regexp.MustCompile(*chaosOnly),
	}
	t.Cleanup(c.sidecar.close)
	for n := range chaosMaxInstances {
		c.pool = append(c.pool, c.backend(n))
		c.inCatalogue[n] = n < (chaosMaxInstances+chaosMinInstances)/2
	}
	c.disk = env.useSmallDisk()
	c.config = strings.NewReplacer(
		env.sidecar.URL("/state.json"), c.sidecar.server.URL+"/state.json",
		"[haproxy_api]\n", fmt.Sprintf("[haproxy_api]\nstate_dir = %q\nmax_body = \"1MiB\"\n", env.path("state")),
		"[sidecar]\n", "[sidecar]\nresync_interval = \"2s\"\nhold = \"10m\"\n",
	).Replace(env.read("haproxy-api.toml")) + env.faultyPluginConfig()
	env.write("haproxy-api.toml", c.config)
	c.invariants = newInvariants(env)
	c.env.write(chaosInput, c.input())
	c.saveTemplate()
	c.publishTruth()
	env.start()
	for n := range chaosServices {
		env.waitAnswer(chaosPort+n, fmt.Sprint(n))
	}
	env.waitGenerationApplied() // a fault during the first apply would leave nothing, because nothing was applied before
	c.invariants.start(chaosServices)
	t.Cleanup(c.invariants.stopAndWait)
	return c
}

// backend starts an instance that answers for as long as the test runs, whether it is in the catalogue or not.
func (c *chaos) backend(n int) sdk.Instance {
	service := n % chaosServices
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, service) }))
	c.env.t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	return sdk.Instance{
		ID: fmt.Sprintf("i%d", n), Name: fmt.Sprintf("svc%d", service), Hostname: fmt.Sprintf("host%d", n%4), Image: "svc:1",
		ProxyMode: "http", Created: time.Unix(int64(n), 0).UTC(),
		Ports: []sdk.Port{{Type: "tcp", Port: int64(port), ServicePort: int64(chaosPort + service), IP: "127.0.0.1"}},
	}
}

// catalogue returns a snapshot of the instances of pool that has selects, with a cluster name of its own. Its timestamps are
// random, because the clocks of hosts may be wrong.
func (c *chaos) catalogue(has func(n int) bool) sdk.Snapshot {
	c.clusters++
	var instances []sdk.Instance
	for n, i := range c.pool {
		if has(n) {
			i.Updated = c.randomTime()
			instances = append(instances, i)
		}
	}
	return sdk.Snapshot{Cluster: fmt.Sprintf("c%d", c.clusters), Changed: c.randomTime(), Services: sdk.GroupByName(instances)}
}

func (c *chaos) randomTime() time.Time {
	return time.Date(1990+c.rand.IntN(80), 1, 1, 0, 0, c.rand.IntN(1e6), 0, time.UTC)
}

// trueSnapshot returns the true catalogue under a new name.
func (c *chaos) trueSnapshot() sdk.Snapshot {
	snap := c.catalogue(func(n int) bool { return c.inCatalogue[n] })
	c.invariants.addSnapshot(snap)
	c.past = append(c.past, snap)
	return snap
}

// publishTruth makes the Sidecar serve and push the true catalogue, and returns it.
func (c *chaos) publishTruth() sdk.Snapshot {
	snap := c.trueSnapshot()
	c.sidecar.setState(snap)
	c.sidecar.push(c.env.apiAddress, bytes.NewReader(pushBody(snap)))
	return snap
}

// change changes the true catalogue.
func (c *chaos) change() {
	for range 1 + c.rand.IntN(3) {
		n := chaosFixedInstances + c.rand.IntN(chaosMaxInstances-chaosFixedInstances)
		count := 0
		for _, in := range c.inCatalogue {
			if in {
				count++
			}
		}
		c.inCatalogue[n] = !c.inCatalogue[n] || count <= chaosMinInstances
	}
}

// step injects one fault, and sometimes ends an active one.
func (c *chaos) step() {
	kinds := slices.DeleteFunc(slices.Sorted(maps.Keys(chaosFaults)), func(kind string) bool { return !c.only.MatchString(kind) })
	c.inject(kinds[c.rand.IntN(len(kinds))])
	if c.rand.IntN(2) == 0 {
		c.inject("a true change") // the most frequent event
	}
	if len(c.activeFaults) > 0 && c.rand.IntN(3) == 0 {
		c.activeFaults[0]()
		c.activeFaults = c.activeFaults[1:]
	}
	time.Sleep(time.Duration(c.rand.IntN(150)) * time.Millisecond)
}

func (c *chaos) inject(kind string) {
	chaosFaults[kind](c)
	c.injected[kind]++
}

// endFaultsAndCheck ends all faults, waits until the true state is applied, and checks the invariants.
func (c *chaos) endFaultsAndCheck() {
	c.env.t.Helper()
	c.endActiveFaults()
	c.sidecar.setFault(noFault)
	c.env.write("haproxy-api.toml", c.config)
	c.saveTemplate()
	began := time.Now()
	snap := c.publishTruth()
	c.env.eventually(fmt.Sprintf("template %d and catalogue %s are applied", c.template, snap.Cluster), func() bool {
		template, cluster := documentVersion(c.env.read(c.env.config))
		return template == c.template && cluster == snap.Cluster
	})
	want := c.invariants.render(c.template, snap.Cluster)
	if got := c.env.read(c.env.config); got != want {
		c.env.t.Errorf("on disk is\n%s\nwant\n%s", got, want)
	}
	c.env.eventually("healthy", c.env.healthy)
	c.env.eventually("HAProxy runs what is on disk", func() bool {
		return maps.Equal(c.env.servers().serving(), serversIn(want))
	})
	c.checkEnvironment()
	c.checkTemporary()
	c.checkInput()
	c.slowestConvergence = max(c.slowestConvergence, time.Since(began))
	c.invariants.check()
}

func (c *chaos) report(t *testing.T) {
	t.Helper()
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(c.injected)) {
		t.Logf("%6d × %s", c.injected[kind], kind)
		total += c.injected[kind]
	}
	t.Logf("%6d in all, seed %d; %d requests, %d failed while HAProxy was down on purpose; %d documents on disk; "+
		"convergence took %v at most", total, *chaosSeed, c.invariants.requests.Load(), c.invariants.excused,
		c.invariants.documentCount,
		c.slowestConvergence.Round(time.Millisecond))
	workers, plugins := 0, 0
	c.env.eventually("one worker and one plugin are left", func() bool {
		workers, plugins = len(childPIDs(c.env.masterPID())), len(childPIDs(c.env.cmd.Process.Pid))
		return workers == 1 && plugins == 1
	})
}

// chaosFaults are all faults, and changes that are no faults, by name.
var chaosFaults = map[string]func(c *chaos){
	"a true change":           func(c *chaos) { c.change(); c.publishTruth() },
	"a change without a push": func(c *chaos) { c.change(); c.sidecar.setState(c.trueSnapshot()) },

	"Sidecar restarts and knows only itself": func(c *chaos) {
		c.publishFalse(c.catalogue(func(n int) bool { return n == 0 || n == 4 }))
		c.sidecar.closeWatches()
	},
	"Sidecar says that nothing lives": func(c *chaos) { c.publishFalse(c.catalogue(func(int) bool { return false })) },
	"Sidecar forgets three of four":   func(c *chaos) { c.publishFalse(c.catalogue(func(n int) bool { return n%4 == 0 })) },
	"Sidecar repeats a push": func(c *chaos) {
		body := pushBody(c.past[len(c.past)-1])
		for range 5 {
			c.sidecar.push(c.env.apiAddress, bytes.NewReader(body))
		}
	},
	"Sidecar goes back in time": func(c *chaos) {
		old := c.past[c.rand.IntN(len(c.past))]
		c.sidecar.setState(old)
		c.sidecar.push(c.env.apiAddress, bytes.NewReader(pushBody(old)))
	},
	"a slow push": func(c *chaos) {
		body := pushBody(c.trueSnapshot())
		pause := time.Duration(c.rand.IntN(400)) * time.Millisecond
		c.inBackground(func() { c.sidecar.push(c.env.apiAddress, &slowReader{body, pause}) })
	},
	"a push that is cut": func(c *chaos) {
		body := pushBody(c.past[len(c.past)-1])
		c.sidecar.push(c.env.apiAddress, bytes.NewReader(body[:c.rand.IntN(len(body))]))
	},
	"a push whose connection is cut": func(c *chaos) {
		conn, err := net.Dial("tcp", c.env.apiAddress)
		if err != nil {
			return // the daemon was killed a moment ago
		}
		fmt.Fprintf(conn, "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"State\":")
		_ = conn.Close()
	},
	"an endless push": func(c *chaos) {
		body := pushBody(c.past[0])
		c.inBackground(func() { c.sidecar.push(c.env.apiAddress, &endlessReader{body}) })
	},
	"an empty push":    func(c *chaos) { c.sidecar.push(c.env.apiAddress, http.NoBody) },
	"a malformed push": func(c *chaos) { c.sidecar.push(c.env.apiAddress, io.LimitReader(&randomReader{c.rand.Uint64()}, 5000)) },
	"the state fails":  func(c *chaos) { c.setSidecarFault(failingState) },
	"the state hangs":  func(c *chaos) { c.setSidecarFault(hangingState) },
	"the state is truncated, endless or malformed": func(c *chaos) {
		c.setSidecarFault([]sidecarFault{truncatedState, endlessState, malformedState}[c.rand.IntN(3)])
	},
	"watches break": func(c *chaos) { c.sidecar.closeWatches() },

	"HAProxy's worker is killed": func(c *chaos) { c.killHAProxy(c.env.workerPID()) },
	"HAProxy's master is killed": func(c *chaos) { c.killHAProxy(c.env.masterPID()) },
	"HAProxy is reloaded by hand": func(c *chaos) {
		// After a failed reload a master of HAProxy 3.1 and later lists no current worker and would not hand the sockets over.
		if !strings.Contains(c.env.askHAProxy("haproxy.master.sock", "show proc"), "# workers\n# old workers\n") {
			c.signal(c.env.masterPID(), syscall.SIGUSR2)
		}
	},
	"the plugin is killed": func(c *chaos) { c.signal(c.env.pluginPID(), syscall.SIGKILL) },
	"the plugin stands still": func(c *chaos) {
		pid := c.env.pluginPID()
		c.signal(pid, syscall.SIGSTOP)
		c.addActiveFault(func() { c.signal(pid, syscall.SIGCONT) })
	},
	"the daemon is killed": func(c *chaos) {
		// A stopped plugin would not notice the end of the daemon and keep its lock of the file.
		c.signal(c.env.pluginPID(), syscall.SIGCONT)
		c.env.kill()
		c.restart()
	},
	"the daemon is stopped and started": func(c *chaos) {
		// The exit code does not count: the daemon may have been waiting for a stopped plugin.
		_ = c.env.cmd.Process.Signal(syscall.SIGTERM)
		_ = c.env.wait()
		c.restart()
	},
	"the disk is full": func(c *chaos) {
		if _, err := os.Stat(c.disk + "/filler"); err != nil {
			c.fill()
			c.addActiveFault(func() { _ = os.Remove(c.disk + "/filler") })
		}
	},
	"files get times of the past or the future": func(c *chaos) {
		for _, name := range []string{"haproxy.tmpl", "haproxy-api.toml", "haproxy.pid", "disk/haproxy.cfg"} {
			at := time.Date(1980+c.rand.IntN(100), 1, 1, 0, 0, 0, 0, time.UTC)
			_ = os.Chtimes(c.env.path(name), at, at)
		}
	},

	"a good template is saved":   func(c *chaos) { c.saveTemplate() },
	"a broken template is saved": func(c *chaos) { c.breakTemplate() },
	"the template is deleted": func(c *chaos) {
		c.rejection = ""
		_ = os.Remove(c.env.path("haproxy.tmpl"))
	},
	"a good configuration is saved": func(c *chaos) {
		c.configure("reload_interval = \"200ms\"", fmt.Sprintf("reload_interval = \"%dms\"", 200+c.rand.IntN(200)))
	},
	"Sidecar is followed instead": func(c *chaos) {
		c.configure("[sidecar]\n", fmt.Sprintf("[sidecar]\nfollow = %q\n", c.sidecar.address()))
	},
	"a broken configuration is saved": func(c *chaos) {
		c.configure("[haproxy]\n", []string{
			"[haproxy]\nbinari = 1\n", "[haproxy\n", "[haproxy]\nmode = \"other\"\n",
			"[sinks.x]\ntype = \"nothing\"\n[haproxy]\n",
		}[c.rand.IntN(4)])
	},
	"SIGHUP": func(c *chaos) {
		if c.env.apiAnswers() { // before the daemon handles SIGHUP, the signal would end it
			c.signal(c.env.cmd.Process.Pid, syscall.SIGHUP)
		}
	},
}

func (c *chaos) publishFalse(snap sdk.Snapshot) {
	c.sidecar.setState(snap)
	body := []byte(`{"State":` + string(stateBytes(snap)) + `,"ChangeEvent":null}`)
	c.sidecar.push(c.env.apiAddress, bytes.NewReader(body))
}

func (c *chaos) setSidecarFault(m sidecarFault) {
	c.sidecar.setFault(m)
	c.addActiveFault(func() { c.sidecar.setFault(noFault) })
}

// inBackground runs do while other faults are injected. It is over before the next check.
func (c *chaos) inBackground(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	c.addActiveFault(func() { <-done })
}

func (c *chaos) addActiveFault(end func()) { c.activeFaults = append(c.activeFaults, end) }

func (c *chaos) signal(pid int, signal syscall.Signal) {
	if pid > 1 {
		_ = syscall.Kill(pid, signal)
	}
}

// killHAProxy kills a process of HAProxy and waits until HAProxy serves again; requests may fail meanwhile. A stopped plugin
// cannot start HAProxy, so the active faults are ended first.
func (c *chaos) killHAProxy(pid int) {
	if pid < 2 {
		return
	}
	c.endActiveFaults()
	back := c.invariants.beginOutage()
	defer back()
	c.signal(pid, syscall.SIGKILL)
	c.waitServing()
}

func (c *chaos) serves() bool {
	for n := range chaosServices {
		if _, err := c.env.get(chaosPort + n); err != nil {
			return false
		}
	}
	return true
}

// restart starts the daemon with the valid configuration, because it does not start with an invalid one.
func (c *chaos) restart() {
	c.env.write("haproxy-api.toml", c.config)
	before := c.env.log.String()
	if c.rejection != "" { // a restarted daemon does not know the rejection and tries the document again, now and after a while
		c.endActiveFaults()
		back := c.invariants.beginOutage()
		defer back()
	}
	c.env.start()
	c.env.eventually("the daemon has read its configuration", func() bool {
		return strings.Contains(c.env.log.String(), "level=")
	})
	c.env.log.prepend(before[max(0, len(before)-20000):] + "\n-- the daemon was started again --\n")
	if c.rejection != "" {
		c.waitRejected()
		c.saveTemplate() // a later attempt would interrupt requests outside of the outage
	}
}

func (c *chaos) fill() {
	file, err := os.Create(c.disk + "/filler")
	if err != nil {
		return
	}
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
}

func (c *chaos) configure(line, instead string) {
	content := strings.Replace(c.config, line, instead, 1)
	if c.rand.IntN(2) == 0 {
		c.env.writeInPlace("haproxy-api.toml", content)
		return
	}
	c.env.write("haproxy-api.toml.new", content)
	_ = os.Rename(c.env.path("haproxy-api.toml.new"), c.env.path("haproxy-api.toml"))
}

func (c *chaos) saveTemplate() {
	c.variants++
	c.template = c.variants
	content := chaosTemplate(c.template, c.environment)
	c.invariants.addTemplate(c.template, content)
	c.save(content)
}

func (c *chaos) breakTemplate() {
	c.variants++
	content := chaosTemplate(c.variants, c.environment) // a number that must never be served
	c.save([]string{
		content[:len(content)*2/3] + "{{",
		content + "{{ nonsense }}",
		content + "{{ range .Services }}{{ (index . 0).Nothing }}{{ end }}",
		content + "\nbackend x\n  bogus line\n",
		content + `{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`,
	}[c.rand.IntN(5)])
}

func (c *chaos) save(content string) {
	c.rejection = ""
	if c.rand.IntN(2) == 0 {
		c.env.writeInPlace("haproxy.tmpl", content)
		return
	}
	c.env.write("haproxy.tmpl.new", content)
	_ = os.Rename(c.env.path("haproxy.tmpl.new"), c.env.path("haproxy.tmpl"))
}

// randomReader reads random bytes.
type randomReader struct{ seed uint64 }

func (n *randomReader) Read(p []byte) (int, error) {
	for i := range p {
		n.seed = n.seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(n.seed >> 33)
	}
	return len(p), nil
}
