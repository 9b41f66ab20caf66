package e2e_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var soakChanges = flag.Int("soak", 240, "how many changes TestSoak makes; 3600 are one a second for an hour")

// soakRounds is how often the belongings of all processes are looked at. The first rounds warm up.
const soakRounds = 6

// What each second of an hour may bring to a catalogue of 500 instances comes without the seconds between: memory, goroutines,
// open files, processes and HAProxy's servers stay as they were.
func TestSoak(t *testing.T) {
	s := newSite(t, `reload_interval = "100ms"`, `drain_timeout = "1s"`)
	l := newLiar()
	t.Cleanup(l.close)
	s.write("haproxy-api.toml", strings.NewReplacer(
		s.sidecar.URL("/state.json"), l.server.URL+"/state.json",
		"[haproxy_api]\n", fmt.Sprintf("[haproxy_api]\nstate_dir = %q\n", s.path("state")),
	).Replace(s.read("haproxy-api.toml")))
	k := &soak{s: s, liar: l, rand: rand.New(rand.NewPCG(4, 0))}
	for n := range 500 {
		k.all = append(k.all, soakInstance(n))
	}
	s.start()
	k.settle()
	var rounds []belongings
	for range soakRounds {
		for range *soakChanges / soakRounds {
			k.change()
		}
		k.settle()
		rounds = append(rounds, k.look())
		t.Logf("%+v", rounds[len(rounds)-1])
	}
	flat(t, rounds[2:])
}

type soak struct {
	s     *site
	liar  *liar
	rand  *rand.Rand
	all   []sdk.Instance
	made  int
	extra bool // whether the service is there that comes and goes, at the price of a reload
}

func soakInstance(n int) sdk.Instance {
	return sdk.Instance{
		ID: fmt.Sprintf("i%d", n), Name: fmt.Sprintf("svc%d", n%25), Hostname: fmt.Sprintf("host%d", n%7), Image: "svc:1",
		ProxyMode: "http", Created: time.Unix(int64(n), 0).UTC(),
		Ports: []sdk.Port{{Type: "tcp", Port: int64(20000 + n), ServicePort: int64(8000 + n%25), IP: "127.0.0.1"}},
	}
}

// change replaces an instance, or has one drain, die or come back. Every now and then a service comes or goes.
func (k *soak) change() {
	k.made++
	i := &k.all[k.rand.IntN(len(k.all))]
	switch k.rand.IntN(4) {
	case 0:
		i.ID = fmt.Sprintf("r%d", k.made)
	case 1:
		i.Status = sdk.Draining
	case 2:
		i.Status = sdk.Unhealthy
	default:
		i.Status = sdk.Alive
	}
	if k.made%50 == 0 {
		k.extra = !k.extra
	}
	if code := k.push(); code != http.StatusOK {
		k.s.t.Fatalf("a push was answered %d", code)
	}
}

func (k *soak) push() int {
	all := slices.Clone(k.all)
	if k.extra {
		one := soakInstance(0)
		one.Name, one.Ports = "extra", []sdk.Port{{Type: "tcp", Port: 21000, ServicePort: 9000, IP: "127.0.0.1"}}
		all = append(all, one)
	}
	for i := range all { // each reports once in six pushes, as with a Sidecar
		all[i].Updated = time.Unix(int64((k.made+i)/heartbeats), 0).UTC()
	}
	snap := sdk.Snapshot{Cluster: "soak", Changed: time.Unix(int64(k.made), 0).UTC(), Services: sdk.GroupByName(all)}
	k.liar.know(snap)
	return k.liar.push(k.s.api, bytes.NewReader(event(snap)))
}

// settle has every instance live again, no more and no less, and waits until HAProxy has just these.
func (k *soak) settle() {
	k.s.t.Helper()
	for i := range k.all {
		k.all[i].Status = sdk.Alive
	}
	k.extra = false
	k.s.eventually("the daemon takes a push", func() bool { return k.push() == http.StatusOK })
	k.s.eventually("HAProxy has the servers of the catalogue and no others", func() bool {
		servers := k.s.servers()
		return len(servers) == len(k.all) && len(servers.serving()) == len(k.all)
	})
	k.s.eventually("healthy, with one worker", func() bool {
		return k.s.healthy() && len(childrenOf(k.s.masterPID())) == 1
	})
}

// belongings are what processes must not gather.
type belongings struct {
	Goroutines                             int
	DaemonFiles, PluginFiles, HAProxyFiles int
	DaemonKiB, PluginKiB, HAProxyKiB       int // resident
	PluginThreads, Servers, Files          int
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines ([0-9]+)$`)

func (k *soak) look() belongings {
	k.s.t.Helper()
	daemon, plugin, worker := k.s.cmd.Process.Pid, k.s.pluginPID(), k.s.workerPID()
	b := belongings{
		DaemonKiB: resident(daemon), PluginKiB: resident(plugin), HAProxyKiB: resident(worker),
		PluginThreads: threads(plugin), Servers: len(k.s.servers()),
	}
	// Connections that were just used end a moment later, so the least of several looks counts.
	for range 20 {
		least(&b.DaemonFiles, openFiles(daemon))
		least(&b.PluginFiles, openFiles(plugin))
		least(&b.HAProxyFiles, openFiles(worker))
		body, err := get("http://" + k.s.api + "/metrics")
		if err != nil {
			k.s.t.Fatal(err)
		}
		n, _ := strconv.Atoi(goroutines.FindStringSubmatch(body)[1])
		least(&b.Goroutines, n)
		time.Sleep(50 * time.Millisecond)
	}
	_ = filepath.WalkDir(k.s.folder, func(string, os.DirEntry, error) error { b.Files++; return nil })
	return b
}

// least lowers what was seen so far to now, if that is less. 0 is nothing seen.
func least(seen *int, now int) {
	if *seen == 0 || now < *seen {
		*seen = now
	}
}

func openFiles(pid int) int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(files)
}

func resident(pid int) int { return statusNumber(pid, "VmRSS:") }
func threads(pid int) int  { return statusNumber(pid, "Threads:") }

// statusNumber returns a number from the process's status; 0 for none.
func statusNumber(pid int, key string) int {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(content)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}

// flat fails the test if anything grew from the first of rounds to the last. Memory breathes with the garbage collector; over an
// hour's changes a leak of two kilobytes a change shows.
func flat(t *testing.T, rounds []belongings) {
	t.Helper()
	first, last := rounds[0], rounds[len(rounds)-1]
	for _, what := range []struct {
		name        string
		before, now int
		leeway      int
	}{
		{"goroutines of the daemon", first.Goroutines, last.Goroutines, 2},
		{"files open in the daemon", first.DaemonFiles, last.DaemonFiles, 4},
		{"files open in the plugin", first.PluginFiles, last.PluginFiles, 4},
		{"files open in HAProxy", first.HAProxyFiles, last.HAProxyFiles, 4},
		{"threads of the plugin", first.PluginThreads, last.PluginThreads, 4},
		{"servers", first.Servers, last.Servers, 0},
		{"files in the folder", first.Files, last.Files, 0},
		{"KiB of the daemon", first.DaemonKiB, last.DaemonKiB, max(8<<10, first.DaemonKiB/4)},
		{"KiB of the plugin", first.PluginKiB, last.PluginKiB, max(8<<10, first.PluginKiB/4)},
		{"KiB of HAProxy", first.HAProxyKiB, last.HAProxyKiB, max(8<<10, first.HAProxyKiB/4)},
	} {
		if what.now > what.before+what.leeway {
			t.Errorf("%s went from %d to %d", what.name, what.before, what.now)
		}
	}
}
