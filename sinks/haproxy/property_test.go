package haproxy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

var (
	propertySteps = flag.Int("property.steps", 40, "changes in each run of the property test")
	propertySeeds = flag.Uint64("property.seeds", 4, "runs of the property test")
	propertyFirst = flag.Uint64("property.first", 0, "the first seed of the property test")
)

// probeEvery is the number of steps between two comparisons of checks, reuse and distribution.
const probeEvery = 4

// most is the number of differences that one run reports before it ends.
const most = 5

// A property is one run of the property test: a sink with a HAProxy, and a world whose documents it applies.
type property struct {
	*testEnv
	sink     *Sink
	recorder *recorder
	rand     *rand.Rand
	world    *world
	doc      sdk.Document // what was applied last, the world's
	disk     *world       // whose document was on disk last
	diskDoc  sdk.Document
	compared string   // the file at the last comparison
	happened []string // since then
	actions  map[string]int
	held     sync.WaitGroup
}

// However a document was applied, HAProxy runs what a HAProxy that is started with the file runs.
func TestProperty_RunsWhatAFreshHAProxyWouldRun(t *testing.T) {
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("seeds", func(t *testing.T) {
		for seed := *propertyFirst; seed < *propertyFirst+*propertySeeds; seed++ {
			t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				p := newProperty(t, seed)
				t.Cleanup(func() {
					mu.Lock()
					defer mu.Unlock()
					for action, n := range p.actions {
						total[action] += n
					}
				})
				for range *propertySteps {
					p.step()
				}
				t.Log(p.actions)
			})
		}
	})
	t.Log(total)
	steps := *propertySteps * int(*propertySeeds)
	if total[sdk.ActionRuntime] < steps/4 || total[sdk.ActionReload] < steps/20 || total["probes"] == 0 {
		t.Errorf("the changes were too much alike: %v", total)
	}
}

func newProperty(t *testing.T, seed uint64) *property {
	t.Helper()
	p := &property{testEnv: newTestEnv(t), rand: rand.New(rand.NewPCG(seed, 1)), actions: map[string]int{}}
	p.cfg.DrainTimeout = time.Duration(seed%2) * 3 * time.Second
	p.recorder = newRecorder(t, p.writeCertificates())
	values := strings.NewReplacer("{main}", strconv.Itoa(p.recorder.main), "{other}", strconv.Itoa(p.recorder.other),
		"{port}", "1", "{dir}", p.dir)
	w := &world{rand: p.rand, values: values, port: p.recorder.main, pool: poolOfAll.takenBy(p.testEnv, values)}
	for range 12 {
		w.ports = append(w.ports, freePort(t))
	}
	w.services = []*service{w.newService(), w.newService(), w.newService()}
	for p.refuses(w.document()) {
		w.services = []*service{w.newService(), w.newService(), w.newService()}
	}
	p.world, p.sink, p.doc = w, p.testEnv.sink(), w.document()
	result, err := p.sink.Apply(t.Context(), p.doc)
	check(t, err)
	p.note(result.Action, result.Reason)
	p.awaitFile()
	t.Cleanup(p.held.Wait)
	t.Cleanup(p.recorder.releaseHeld)
	return p
}

// step applies the next document, and usually waits for the file and compares.
func (p *property) step() {
	p.t.Helper()
	next := p.world.copied()
	for range 1 + p.rand.IntN(2) {
		next.change()
	}
	doc := next.document()
	if p.rand.IntN(6) == 0 {
		p.hold()
	}
	result, err := p.sink.Apply(p.t.Context(), doc)
	p.world.made = next.made
	switch {
	case err == nil:
		p.note(result.Action, result.Reason)
		p.world, p.doc = next, doc
	case p.refuses(doc):
		p.note("refused", strings.SplitN(err.Error(), "\n", 2)[0])
	default:
		p.t.Fatalf("%v\n%s", err, doc.Files[0].Content)
	}
	switch p.rand.IntN(8) {
	case 0:
		return // the next one comes at once
	case 1:
		time.Sleep(time.Duration(p.rand.IntN(200)) * time.Millisecond) // or while the file is written
		return
	case 2:
		p.restart()
	}
	p.awaitFile()
	p.compare()
}

func (p *property) note(action, reason string) {
	p.actions[action]++
	p.t.Logf("%s: %s", action, reason)
	p.happened = append(p.happened, action+": "+reason)
}

// restart replaces the sink by another one, which adopts HAProxy and gets the same document.
func (p *property) restart() {
	p.t.Helper()
	p.stop(p.sink)
	p.sink = p.testEnv.sink()
	p.note("restart of the sink", "")
	result, err := p.sink.Apply(p.t.Context(), p.doc)
	switch {
	case err == nil:
		p.note(result.Action, result.Reason)
	case p.refuses(p.doc):
		p.goBack()
	default:
		p.t.Fatalf("after a restart: %v\n%s", err, p.doc.Files[0].Content)
	}
}

// hold begins a request that does not end by itself.
func (p *property) hold() {
	service := p.world.services[p.rand.IntN(len(p.world.services))]
	p.held.Go(func() {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
		running := side{prefix: mainPrefix}
		_ = running.request(client, service.port, "/probe/held")
	})
}

// refuses reports whether HAProxy's own check rejects doc.
func (p *property) refuses(doc sdk.Document) bool {
	check(p.t, os.WriteFile(p.path("refused.cfg"), doc.Files[0].Content, 0o600))
	return exec.Command(p.cfg.Binary, "-c", "-f", p.path("refused.cfg")).Run() != nil
}

// awaitFile persists the last change at once. If HAProxy's check has rejected it, it was reverted, and awaitFile
// continues with the document before.
func (p *property) awaitFile() {
	p.t.Helper()
	check(p.t, p.sink.lockFiles(p.t.Context()))
	p.sink.persist(p.t.Context())
	p.sink.unlockFiles()
	follows := func() bool { return p.onDisk() == string(p.doc.Files[0].Content) }
	if !follows() && p.refuses(p.doc) {
		p.note("reverted", "")
		p.goBack()
	}
	eventually(p.t, "the file follows", follows)
	p.disk, p.diskDoc = p.world, p.doc
}

// goBack applies the document again that was last on disk.
func (p *property) goBack() {
	p.t.Helper()
	p.diskDoc = edited(p.diskDoc, "# rendered", "# rendered again")
	p.world, p.doc = p.disk, p.diskDoc
	result, err := p.sink.Apply(p.t.Context(), p.doc)
	check(p.t, err)
	p.note(result.Action, result.Reason)
}

// compare compares what runs with a HAProxy that is started with the file.
func (p *property) compare() {
	p.t.Helper()
	p.actions["comparisons"]++
	fresh, stop := p.freshSide()
	defer stop()
	p.report("servers", func() string { return p.differentServers(fresh) })
	for _, service := range p.world.services {
		p.report("requests to "+service.name, func() string { return differentForms(fresh, p.running(), service) })
	}
	if p.actions["comparisons"]%probeEvery == 0 {
		p.probe(fresh)
	}
	p.compared, p.happened = p.onDisk(), nil
}

func (p *property) probe(fresh side) {
	p.t.Helper()
	p.actions["probes"]++
	p.recorder.releaseHeld()
	if diff := p.differentChecks(fresh, p.running()); diff != "" {
		p.differs("checks", diff)
	}
	eventually(p.t, "the servers that left are gone", func() bool {
		want, _ := fresh.servers(p.t)
		got, _ := p.running().servers(p.t)
		return len(want) == len(got)
	})
	for _, service := range p.world.services {
		if !p.running().warmsUp(p.t, service) {
			p.report("distribution over "+service.name, func() string {
				return differentDistribution(fresh, p.running(), service)
			})
		}
		if service.mode == "http" {
			p.report("reuse with "+service.name, func() string { return differentReuse(fresh, p.running(), service) })
		}
		if strings.Contains(fmt.Sprint(service.servers), "observe") {
			p.report("errors of "+service.name, func() string {
				return differentAfterErrors(p.t, fresh, p.running(), service)
			})
		}
	}
}
