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
	chaosFor  = flag.Duration("chaos", 25*time.Second, "for how long TestChaos makes trouble")
	chaosSeed = flag.Uint64("chaos.seed", 1, "the seed of TestChaos; the same seed makes the same trouble in the same order")
	chaosOnly = flag.String("chaos.only", "", "a regular expression: TestChaos makes only trouble whose name it matches")
)

const (
	chaosServices = 6
	chaosMost     = 30 // instances; as many as there are backends
	chaosLeast    = 20 // so that no two true catalogues differ by as much as the guard holds back
	chaosFixed    = 12 // of them never go, so that every service always has two
	chaosPort     = 8001
	calmEvery     = 40 // steps
)

// chaos makes trouble for one site, and knows what is to hold all the while.
type chaos struct {
	s    *site
	liar *liar
	rand *rand.Rand
	only *regexp.Regexp // faults

	pool []sdk.Instance
	in   []bool // which of the pool are in the true catalogue
	disk string

	mounted map[string]bool // files that are mount points

	plain string // the configuration as it is while nobody plays with it

	accounts    *accounts
	survived    map[string]int
	lasting     []func() // what ends the faults that last
	template    int      // the number of the last good one that was saved
	failing     string   // a word of why HAProxy fails to load the template that is saved; empty where it does not fail
	clusters    int
	variants    int
	environment int // of the templates
	inputs      int // the number of the file that HAProxy reads beside its configuration
	past        []sdk.Snapshot
	slowest     time.Duration // to converge
}

// Everything that goes wrong around the daemon goes wrong at once, in an order that the seed decides. All the while requests to
// living instances are answered, and what is in effect is what some accepted template makes of some catalogue that may be
// believed. Each time that the trouble stops, what is true is in effect soon after.
func TestChaos(t *testing.T) {
	if !mounttest.Run(t) {
		return
	}
	c := newChaos(t)
	end := time.Now().Add(*chaosFor)
	for steps := 1; time.Now().Before(end) || steps <= calmEvery; steps++ {
		c.step()
		if steps%calmEvery == 0 {
			c.calm()
		}
	}
	c.calm()
	c.report(t)
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	s := newSite(t, `template = "haproxy.tmpl"`, `reload_interval = "200ms"`, `drain_timeout = "2s"`)
	c := &chaos{
		s: s, liar: newLiar(), rand: rand.New(rand.NewPCG(*chaosSeed, 0)), survived: map[string]int{},
		mounted: map[string]bool{},
		in:      make([]bool, chaosMost), only: regexp.MustCompile(*chaosOnly),
	}
	t.Cleanup(c.liar.close)
	for n := range chaosMost {
		c.pool = append(c.pool, c.backend(n))
		c.in[n] = n < (chaosMost+chaosLeast)/2
	}
	c.disk = s.onDisk()
	c.plain = strings.NewReplacer(
		s.sidecar.URL("/state.json"), c.liar.server.URL+"/state.json",
		"[haproxy_api]\n", fmt.Sprintf("[haproxy_api]\nstate_dir = %q\nmax_body = \"1MiB\"\n", s.path("state")),
		"[sidecar]\n", "[sidecar]\nresync_interval = \"2s\"\nhold = \"10m\"\n",
	).Replace(s.read("haproxy-api.toml")) + s.troubledPlugin()
	s.write("haproxy-api.toml", c.plain)
	c.accounts = newAccounts(s)
	c.s.write(chaosInput, c.input())
	c.saveTemplate()
	c.tellTruth()
	s.start()
	for n := range chaosServices {
		s.answered(chaosPort+n, fmt.Sprint(n))
	}
	s.inEffect() // what broke off the very first document would leave none, as there was none before
	c.accounts.open(chaosServices)
	t.Cleanup(c.accounts.close)
	return c
}

// backend is an instance that answers for as long as the test runs, in the catalogue or not.
func (c *chaos) backend(n int) sdk.Instance {
	service := n % chaosServices
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, service) }))
	c.s.t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	return sdk.Instance{
		ID: fmt.Sprintf("i%d", n), Name: fmt.Sprintf("svc%d", service), Hostname: fmt.Sprintf("host%d", n%4), Image: "svc:1",
		ProxyMode: "http", Created: time.Unix(int64(n), 0).UTC(),
		Ports: []sdk.Port{{Type: "tcp", Port: int64(port), ServicePort: int64(chaosPort + service), IP: "127.0.0.1"}},
	}
}

// catalogue is a snapshot with those of the pool, under a name of its own so that it can be told from all others. Its clock may
// be anything: it goes by hosts that nobody watches.
func (c *chaos) catalogue(has func(n int) bool) sdk.Snapshot {
	c.clusters++
	var instances []sdk.Instance
	for n, i := range c.pool {
		if has(n) {
			i.Updated = c.anyTime()
			instances = append(instances, i)
		}
	}
	return sdk.Snapshot{Cluster: fmt.Sprintf("c%d", c.clusters), Changed: c.anyTime(), Services: sdk.GroupByName(instances)}
}

func (c *chaos) anyTime() time.Time {
	return time.Date(1990+c.rand.IntN(80), 1, 1, 0, 0, c.rand.IntN(1e6), 0, time.UTC)
}

// truth is the true catalogue under a new name.
func (c *chaos) truth() sdk.Snapshot {
	snap := c.catalogue(func(n int) bool { return c.in[n] })
	c.accounts.believe(snap)
	c.past = append(c.past, snap)
	return snap
}

// tellTruth makes Sidecar tell what is true, and returns it.
func (c *chaos) tellTruth() sdk.Snapshot {
	snap := c.truth()
	c.liar.know(snap)
	c.liar.push(c.s.api, bytes.NewReader(event(snap)))
	return snap
}

// change makes another catalogue true.
func (c *chaos) change() {
	for range 1 + c.rand.IntN(3) {
		n := chaosFixed + c.rand.IntN(chaosMost-chaosFixed)
		count := 0
		for _, in := range c.in {
			if in {
				count++
			}
		}
		c.in[n] = !c.in[n] || count <= chaosLeast
	}
}

// step does one thing, and now and then ends one that lasts.
func (c *chaos) step() {
	kinds := slices.DeleteFunc(slices.Sorted(maps.Keys(faults)), func(kind string) bool { return !c.only.MatchString(kind) })
	c.happens(kinds[c.rand.IntN(len(kinds))])
	if c.rand.IntN(2) == 0 {
		c.happens("a true change") // is what happens most
	}
	if len(c.lasting) > 0 && c.rand.IntN(3) == 0 {
		c.lasting[0]()
		c.lasting = c.lasting[1:]
	}
	time.Sleep(time.Duration(c.rand.IntN(150)) * time.Millisecond)
}

func (c *chaos) happens(kind string) {
	faults[kind](c)
	c.survived[kind]++
}

// calm ends all trouble and wants what is true to be in effect soon.
func (c *chaos) calm() {
	c.s.t.Helper()
	c.endLasting()
	c.liar.be(honest)
	c.s.write("haproxy-api.toml", c.plain)
	c.saveTemplate()
	began := time.Now()
	snap := c.tellTruth()
	c.s.eventually(fmt.Sprintf("template %d and catalogue %s are in effect", c.template, snap.Cluster), func() bool {
		template, cluster := marks(c.s.read(c.s.config))
		return template == c.template && cluster == snap.Cluster
	})
	want := c.accounts.rendered(c.template, snap.Cluster)
	if got := c.s.read(c.s.config); got != want {
		c.s.t.Errorf("on disk is\n%s\nand not\n%s", got, want)
	}
	c.s.eventually("healthy", c.s.healthy)
	c.s.eventually("HAProxy runs what is on disk", func() bool {
		return maps.Equal(c.s.servers().serving(), serversIn(want))
	})
	c.checkEnvironment()
	c.checkTemporary()
	c.checkInput()
	c.slowest = max(c.slowest, time.Since(began))
	c.accounts.audit()
}

func (c *chaos) report(t *testing.T) {
	t.Helper()
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(c.survived)) {
		t.Logf("%6d × %s", c.survived[kind], kind)
		total += c.survived[kind]
	}
	t.Logf("%6d in all, seed %d; %d requests, %d lost while HAProxy was dead by our hand; %d documents were seen on disk; "+
		"the truth took %v at most", total, *chaosSeed, c.accounts.asked.Load(), c.accounts.forgiven, c.accounts.documents,
		c.slowest.Round(time.Millisecond))
	workers, plugins := 0, 0
	c.s.eventually("one worker and one plugin are left", func() bool {
		workers, plugins = len(childrenOf(c.s.masterPID())), len(childrenOf(c.s.cmd.Process.Pid))
		return workers == 1 && plugins == 1
	})
}

// faults are what can go wrong, and what goes right, by name.
var faults = map[string]func(c *chaos){
	"a true change":   func(c *chaos) { c.change(); c.tellTruth() },
	"a change untold": func(c *chaos) { c.change(); c.liar.know(c.truth()) },

	"Sidecar restarts and knows itself": func(c *chaos) {
		c.tellLie(c.catalogue(func(n int) bool { return n == 0 || n == 4 }))
		c.liar.cutWatches()
	},
	"Sidecar says that nothing lives": func(c *chaos) { c.tellLie(c.catalogue(func(int) bool { return false })) },
	"Sidecar forgets three of four":   func(c *chaos) { c.tellLie(c.catalogue(func(n int) bool { return n%4 == 0 })) },
	"Sidecar repeats itself": func(c *chaos) {
		body := event(c.past[len(c.past)-1])
		for range 5 {
			c.liar.push(c.s.api, bytes.NewReader(body))
		}
	},
	"Sidecar goes back in time": func(c *chaos) {
		old := c.past[c.rand.IntN(len(c.past))]
		c.liar.know(old)
		c.liar.push(c.s.api, bytes.NewReader(event(old)))
	},
	"a slow push": func(c *chaos) {
		body := event(c.truth())
		pause := time.Duration(c.rand.IntN(400)) * time.Millisecond
		c.beside(func() { c.liar.push(c.s.api, &slowly{body, pause}) })
	},
	"a push that is cut": func(c *chaos) {
		body := event(c.past[len(c.past)-1])
		c.liar.push(c.s.api, bytes.NewReader(body[:c.rand.IntN(len(body))]))
	},
	"a push whose connection is cut": func(c *chaos) {
		conn, err := net.Dial("tcp", c.s.api)
		if err != nil {
			return // the daemon was killed a moment ago
		}
		fmt.Fprintf(conn, "POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{\"State\":")
		_ = conn.Close()
	},
	"an endless push": func(c *chaos) {
		body := event(c.past[0])
		c.beside(func() { c.liar.push(c.s.api, &withoutEnd{body}) })
	},
	"an empty push":   func(c *chaos) { c.liar.push(c.s.api, http.NoBody) },
	"rubbish pushed":  func(c *chaos) { c.liar.push(c.s.api, io.LimitReader(&noise{c.rand.Uint64()}, 5000)) },
	"the state fails": func(c *chaos) { c.mood(failing) },
	"the state hangs": func(c *chaos) { c.mood(hanging) },
	"the state is cut, endless or rubbish": func(c *chaos) {
		c.mood([]mood{cutting, endless, rubbish}[c.rand.IntN(3)])
	},
	"watches break": func(c *chaos) { c.liar.cutWatches() },

	"HAProxy's worker is killed":  func(c *chaos) { c.killHAProxy(c.s.workerPID()) },
	"HAProxy's master is killed":  func(c *chaos) { c.killHAProxy(c.s.masterPID()) },
	"HAProxy is reloaded by hand": func(c *chaos) { c.signal(c.s.masterPID(), syscall.SIGUSR2) },
	"the plugin is killed":        func(c *chaos) { c.signal(c.s.pluginPID(), syscall.SIGKILL) },
	"the plugin stands still": func(c *chaos) {
		pid := c.s.pluginPID()
		c.signal(pid, syscall.SIGSTOP)
		c.lasts(func() { c.signal(pid, syscall.SIGCONT) })
	},
	"the daemon is killed": func(c *chaos) {
		// A plugin that stands still cannot notice, and would keep its claim on the file.
		c.signal(c.s.pluginPID(), syscall.SIGCONT)
		c.s.kill()
		c.restart()
	},
	"the daemon is stopped and started": func(c *chaos) {
		// It is not asked how it ended: it may have been waiting for a plugin that stands still.
		_ = c.s.cmd.Process.Signal(syscall.SIGTERM)
		_ = c.s.cmd.Wait()
		c.restart()
	},
	"the disk is full": func(c *chaos) {
		if _, err := os.Stat(c.disk + "/filler"); err != nil {
			c.fill()
			c.lasts(func() { _ = os.Remove(c.disk + "/filler") })
		}
	},
	"files get times of the past or the future": func(c *chaos) {
		for _, name := range []string{"haproxy.tmpl", "haproxy-api.toml", "haproxy.pid", "disk/haproxy.cfg"} {
			at := time.Date(1980+c.rand.IntN(100), 1, 1, 0, 0, 0, 0, time.UTC)
			_ = os.Chtimes(c.s.path(name), at, at)
		}
	},

	"a good template is saved":   func(c *chaos) { c.saveTemplate() },
	"a broken template is saved": func(c *chaos) { c.breakTemplate() },
	"the template is deleted": func(c *chaos) {
		c.failing = ""
		_ = os.Remove(c.s.path("haproxy.tmpl"))
	},
	"a good configuration is saved": func(c *chaos) {
		c.configure("reload_interval = \"200ms\"", fmt.Sprintf("reload_interval = \"%dms\"", 200+c.rand.IntN(200)))
	},
	"Sidecar is followed instead": func(c *chaos) {
		c.configure("[sidecar]\n", fmt.Sprintf("[sidecar]\nfollow = %q\n", c.liar.address()))
	},
	"a broken configuration is saved": func(c *chaos) {
		c.configure("[haproxy]\n", []string{
			"[haproxy]\nbinari = 1\n", "[haproxy\n", "[haproxy]\nmode = \"other\"\n",
			"[sinks.x]\ntype = \"nothing\"\n[haproxy]\n",
		}[c.rand.IntN(4)])
	},
	"SIGHUP": func(c *chaos) {
		if c.s.apiAnswers() { // before it listens for it, it would end by it
			c.signal(c.s.cmd.Process.Pid, syscall.SIGHUP)
		}
	},
}

func (c *chaos) tellLie(snap sdk.Snapshot) {
	c.liar.know(snap)
	body := []byte(`{"State":` + string(stateBytes(snap)) + `,"ChangeEvent":null}`)
	c.liar.push(c.s.api, bytes.NewReader(body))
}

func (c *chaos) mood(m mood) {
	c.liar.be(m)
	c.lasts(func() { c.liar.be(honest) })
}

// beside does what takes long while other things happen; it is over before the next calm.
func (c *chaos) beside(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	c.lasts(func() { <-done })
}

func (c *chaos) lasts(end func()) { c.lasting = append(c.lasting, end) }

func (c *chaos) signal(pid int, signal syscall.Signal) {
	if pid > 1 {
		_ = syscall.Kill(pid, signal)
	}
}

// killHAProxy waits until HAProxy serves again: meanwhile requests are lost by our own hand. A plugin that stands still cannot
// start it, so that is over first.
func (c *chaos) killHAProxy(pid int) {
	if pid < 2 {
		return
	}
	c.endLasting()
	back := c.accounts.outage()
	defer back()
	c.signal(pid, syscall.SIGKILL)
	c.servesAgain()
}

func (c *chaos) serves() bool {
	for n := range chaosServices {
		if _, err := c.s.get(chaosPort + n); err != nil {
			return false
		}
	}
	return true
}

// restart starts the daemon with a configuration that is good: it refuses to start with another.
func (c *chaos) restart() {
	c.s.write("haproxy-api.toml", c.plain)
	before := c.s.log.String()
	if c.failing != "" { // is tried once again by a daemon that knows nothing of it
		c.endLasting()
		back := c.accounts.outage()
		defer back()
	}
	c.s.start()
	c.s.eventually("the daemon has read its configuration", func() bool {
		return strings.Contains(c.s.log.String(), "level=")
	})
	c.s.log.prepend(before[max(0, len(before)-20000):] + "\n-- the daemon was started again --\n")
	if c.failing != "" {
		c.rejectsFailing()
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
	content := strings.Replace(c.plain, line, instead, 1)
	if c.rand.IntN(2) == 0 {
		c.s.write("haproxy-api.toml", content)
		return
	}
	c.s.write("haproxy-api.toml.new", content)
	_ = os.Rename(c.s.path("haproxy-api.toml.new"), c.s.path("haproxy-api.toml"))
}

func (c *chaos) saveTemplate() {
	c.variants++
	c.template = c.variants
	content := chaosTemplate(c.template, c.environment)
	c.accounts.accept(c.template, content)
	c.save(content)
}

func (c *chaos) breakTemplate() {
	c.variants++
	content := chaosTemplate(c.variants, c.environment) // a number that must never show
	c.save([]string{
		content[:len(content)*2/3] + "{{",
		content + "{{ nonsense }}",
		content + "{{ range .Services }}{{ (index . 0).Nothing }}{{ end }}",
		content + "\nbackend x\n  bogus line\n",
		content + `{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`,
	}[c.rand.IntN(5)])
}

func (c *chaos) save(content string) {
	c.failing = ""
	if c.rand.IntN(2) == 0 {
		c.s.write("haproxy.tmpl", content)
		return
	}
	c.s.write("haproxy.tmpl.new", content)
	_ = os.Rename(c.s.path("haproxy.tmpl.new"), c.s.path("haproxy.tmpl"))
}

// noise reads like nothing that anybody meant.
type noise struct{ seed uint64 }

func (n *noise) Read(p []byte) (int, error) {
	for i := range p {
		n.seed = n.seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(n.seed >> 33)
	}
	return len(p), nil
}
