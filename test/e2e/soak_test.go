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

// soakRounds is how often the resources of all processes are measured. The first rounds warm up.
const soakRounds = 6

// TestSoak applies the changes that a catalogue of 500 instances may have in an hour, without the time in between. Memory,
// goroutines, open files, processes and HAProxy's servers must not grow.
func TestSoak(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `reload_interval = "100ms"`, `drain_timeout = "1s"`)
	f := newFaultySidecar()
	t.Cleanup(f.close)
	env.write("haproxy-api.toml", strings.NewReplacer(
		env.sidecar.URL("/state.json"), f.server.URL+"/state.json",
		"[haproxy_api]\n", fmt.Sprintf("[haproxy_api]\nstate_dir = %q\n", env.path("state")),
	).Replace(env.read("haproxy-api.toml")))
	soak := &soakTest{env: env, sidecar: f, rand: rand.New(rand.NewPCG(4, 0))}
	for n := range 500 {
		soak.all = append(soak.all, soakInstance(n))
	}
	env.start()
	soak.restore()
	var rounds []resourceUsage
	for range soakRounds {
		for range *soakChanges / soakRounds {
			soak.change()
		}
		soak.restore()
		rounds = append(rounds, soak.measure())
		t.Logf("%+v", rounds[len(rounds)-1])
	}
	wantFlat(t, rounds[2:])
}

type soakTest struct {
	env     *testEnv
	sidecar *faultySidecar
	rand    *rand.Rand
	all     []sdk.Instance
	changes int
	extra   bool // whether the service exists that comes and goes with a reload
}

func soakInstance(n int) sdk.Instance {
	return sdk.Instance{
		ID: fmt.Sprintf("i%d", n), Name: fmt.Sprintf("svc%d", n%25), Hostname: fmt.Sprintf("host%d", n%7), Image: "svc:1",
		ProxyMode: "http", Created: time.Unix(int64(n), 0).UTC(),
		Ports: []sdk.Port{{Type: "tcp", Port: int64(20000 + n), ServicePort: int64(8000 + n%25), IP: "127.0.0.1"}},
	}
}

// change replaces an instance or changes its status. Every 50th change adds or removes a service.
func (s *soakTest) change() {
	s.changes++
	i := &s.all[s.rand.IntN(len(s.all))]
	switch s.rand.IntN(4) {
	case 0:
		i.ID = fmt.Sprintf("r%d", s.changes)
	case 1:
		i.Status = sdk.Draining
	case 2:
		i.Status = sdk.Unhealthy
	default:
		i.Status = sdk.Alive
	}
	if s.changes%50 == 0 {
		s.extra = !s.extra
	}
	if code := s.push(); code != http.StatusOK {
		s.env.t.Fatalf("a push was answered %d", code)
	}
}

func (s *soakTest) push() int {
	all := slices.Clone(s.all)
	if s.extra {
		one := soakInstance(0)
		one.Name, one.Ports = "extra", []sdk.Port{{Type: "tcp", Port: 21000, ServicePort: 9000, IP: "127.0.0.1"}}
		all = append(all, one)
	}
	for i := range all { // each instance reports once in six pushes, as in a Sidecar
		all[i].Updated = time.Unix(int64((s.changes+i)/pushesPerHeartbeat), 0).UTC()
	}
	snap := sdk.Snapshot{Cluster: "soak", Changed: time.Unix(int64(s.changes), 0).UTC(), Services: sdk.GroupByName(all)}
	s.sidecar.setState(snap)
	return s.sidecar.push(s.env.apiAddress, bytes.NewReader(pushBody(snap)))
}

// restore makes every instance alive again and waits until HAProxy has exactly these servers.
func (s *soakTest) restore() {
	s.env.t.Helper()
	for i := range s.all {
		s.all[i].Status = sdk.Alive
	}
	s.extra = false
	s.env.eventually("a push is accepted", func() bool { return s.push() == http.StatusOK })
	s.env.eventually("HAProxy has the servers of the catalogue and no others", func() bool {
		servers := s.env.servers()
		return len(servers) == len(s.all) && len(servers.serving()) == len(s.all)
	})
	s.env.eventually("healthy, with one worker", func() bool {
		return s.env.healthy() && len(childPIDs(s.env.masterPID())) == 1
	})
}

// resourceUsage is what must not grow.
type resourceUsage struct {
	Goroutines                             int
	DaemonFiles, PluginFiles, HAProxyFiles int
	DaemonKiB, PluginKiB, HAProxyKiB       int // resident memory
	PluginThreads, Servers, Files          int
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines ([0-9]+)$`)

func (s *soakTest) measure() resourceUsage {
	s.env.t.Helper()
	daemon, plugin, worker := s.env.cmd.Process.Pid, s.env.pluginPID(), s.env.workerPID()
	b := resourceUsage{
		DaemonKiB: residentKiB(daemon), PluginKiB: residentKiB(plugin), HAProxyKiB: residentKiB(worker),
		PluginThreads: threadCount(plugin), Servers: len(s.env.servers()),
	}
	// Connections end a moment after their use, so the lowest of several values counts.
	for range 20 {
		lower(&b.DaemonFiles, openFiles(daemon))
		lower(&b.PluginFiles, openFiles(plugin))
		lower(&b.HAProxyFiles, openFiles(worker))
		body, err := get("http://" + s.env.apiAddress + "/metrics")
		if err != nil {
			s.env.t.Fatal(err)
		}
		n, _ := strconv.Atoi(goroutines.FindStringSubmatch(body)[1])
		lower(&b.Goroutines, n)
		files := 0 // one may be temporary
		_ = filepath.WalkDir(s.env.directory, func(string, os.DirEntry, error) error { files++; return nil })
		lower(&b.Files, files)
		time.Sleep(50 * time.Millisecond)
	}
	return b
}

// lower sets seen to now if that is less; 0 stands for no value yet.
func lower(seen *int, now int) {
	if *seen == 0 || now < *seen {
		*seen = now
	}
}

// wantFlat fails the test if anything grew from the first round to the last. The garbage collector makes memory vary; after an
// hour's changes, a leak of two kilobytes per change is found.
func wantFlat(t *testing.T, rounds []resourceUsage) {
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
		{"files in the directory", first.Files, last.Files, 0},
		{"KiB of the daemon", first.DaemonKiB, last.DaemonKiB, max(8<<10, first.DaemonKiB/4)},
		{"KiB of the plugin", first.PluginKiB, last.PluginKiB, max(8<<10, first.PluginKiB/4)},
		{"KiB of HAProxy", first.HAProxyKiB, last.HAProxyKiB, max(8<<10, first.HAProxyKiB/4)},
	} {
		if what.now > what.before+what.leeway {
			t.Errorf("%s went from %d to %d", what.name, what.before, what.now)
		}
	}
}
