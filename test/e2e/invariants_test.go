package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// invariants hold during chaos: requests are answered, and each document on disk is what an accepted template renders for a
// snapshot that the daemon may use. Requests and documents are recorded while the faults are injected, and compared afterwards.
type invariants struct {
	env      *testEnv
	stop     func()
	requests atomic.Int64

	mu            sync.Mutex
	failures      []failedRequest
	outages       []outage
	inPlaceWrites []outage             // times at which a part of a document may be on disk
	documents     map[string]time.Time // the documents that were read from disk, with the time of the first read
	snapshots     map[string]sdk.Snapshot
	templates     map[int]string
	excused       int
	documentCount int // of all checks
}

type failedRequest struct {
	from, to time.Time
	err      error
}

// outage is a time in which HAProxy does not run because the test ended it.
type outage struct{ from, to time.Time }

func newInvariants(env *testEnv) *invariants {
	return &invariants{
		env: env, documents: map[string]time.Time{}, snapshots: map[string]sdk.Snapshot{}, templates: map[int]string{},
		stop: func() {},
	}
}

// start starts requests to each service, over new connections and over kept ones, and the reading of the file.
func (v *invariants) start(services int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for n := range services {
		url := fmt.Sprintf("http://%s:%d/", v.env.ip, chaosPort+n)
		for _, kept := range []bool{true, false} {
			wg.Go(func() { v.sendRequests(ctx, url, strconv.Itoa(n), kept) })
		}
	}
	wg.Go(func() { v.watchFile(ctx) })
	v.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (v *invariants) stopAndWait() { v.stop() }

func (v *invariants) sendRequests(ctx context.Context, url, want string, kept bool) {
	transport := &http.Transport{DisableKeepAlives: !kept}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: waitLimit, Transport: transport}
	for ctx.Err() == nil {
		from := time.Now()
		body, err := getBy(client, url)
		if err == nil && body != want {
			err = fmt.Errorf("%s answers %q, want %q", url, body, want)
		}
		v.requests.Add(1)
		if err != nil {
			v.mu.Lock()
			v.failures = append(v.failures, failedRequest{from, time.Now(), err})
			v.mu.Unlock()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// watchFile records each document that it reads from disk.
func (v *invariants) watchFile(ctx context.Context) {
	for ctx.Err() == nil {
		found, err := os.ReadFile(v.env.path(v.env.config))
		content := string(found)
		if err != nil {
			content = err.Error()
		}
		v.mu.Lock()
		if _, known := v.documents[content]; !known {
			v.documents[content] = time.Now()
		}
		v.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// beginOutage begins an outage. The returned function ends it.
func (v *invariants) beginOutage() (back func()) {
	from := time.Now()
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.outages = append(v.outages, outage{from, time.Now()})
	}
}

// addInPlaceWrite excuses incomplete documents that are read between the two times: a file that is a mount point is written in
// place.
func (v *invariants) addInPlaceWrite(from, to time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inPlaceWrites = append(v.inPlaceWrites, outage{from, to})
}

func (v *invariants) writtenInPlaceAt(at time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.inPlaceWrites, func(o outage) bool { return at.After(o.from) && at.Before(o.to) })
}

func (v *invariants) addSnapshot(snap sdk.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshots[snap.Cluster] = snap
}

func (v *invariants) addTemplate(number int, content string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.templates[number] = content
}

// check fails the test for each request that failed outside an outage, and for each document on disk that no accepted template
// renders for a known snapshot.
func (v *invariants) check() {
	v.env.t.Helper()
	v.mu.Lock()
	failures, outages, seen := v.failures, v.outages, v.documents
	v.failures, v.documents = nil, map[string]time.Time{}
	v.mu.Unlock()
	for _, f := range failures {
		if !f.excusedBy(outages) {
			v.env.t.Errorf("a request from %s to %s failed: %v", f.from.Format(timeFormat), f.to.Format(timeFormat), f.err)
			continue
		}
		v.mu.Lock()
		v.excused++
		v.mu.Unlock()
	}
	for content, at := range seen {
		number, cluster := documentVersion(content)
		want := v.render(number, cluster)
		if v.writtenInPlaceAt(at) {
			continue
		}
		if want == "" || content != want && !v.isPartialUpdate(content, want) {
			v.env.t.Errorf("at %s template %d with catalogue %q was on disk, which no accepted template renders:\n%s\nwant:\n%s",
				at.Format(timeFormat), number, cluster, content, want)
		}
	}
	v.mu.Lock()
	v.documentCount += len(seen)
	v.mu.Unlock()
}

const timeFormat = "15:04:05.000"

func (f failedRequest) excusedBy(outages []outage) bool {
	for _, o := range outages {
		if f.to.After(o.from) && f.from.Before(o.to) {
			return true
		}
	}
	return false
}

// render returns what the template with that number renders for the snapshot of that cluster, or an empty string if one of them
// is not known.
func (v *invariants) render(number int, cluster string) string {
	v.mu.Lock()
	content, accepted := v.templates[number]
	snap, believed := v.snapshots[cluster]
	v.mu.Unlock()
	if !accepted || !believed {
		return ""
	}
	v.env.write("invariants.tmpl", content)
	template, err := templates.New(templates.Config{Path: v.env.path("invariants.tmpl"), BindIP: v.env.ip}).Load()
	if err != nil {
		v.env.t.Fatal(err)
	}
	files, _, err := template.Render(v.env.t.Context(), snap)
	if err != nil {
		v.env.t.Fatal(err)
	}
	return string(files[0].Content)
}

// isPartialUpdate reports whether content is want with the servers of another known snapshot, apart from white space: while a
// reload is deferred, changes of servers are applied with the template that is in use.
func (v *invariants) isPartialUpdate(content, want string) bool {
	if withoutServers(content) != withoutServers(want) {
		return false
	}
	servers := serversIn(content)
	v.mu.Lock()
	believed := slices.Collect(maps.Values(v.snapshots))
	v.mu.Unlock()
	return slices.ContainsFunc(believed, func(snap sdk.Snapshot) bool { return maps.Equal(serversOf(snap), servers) })
}

func withoutServers(content string) string {
	var b strings.Builder
	for line := range strings.Lines(content) {
		if !strings.HasPrefix(line, "  server ") && strings.TrimSpace(line) != "" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// serversOf returns what serversIn returns for the document that chaosTemplate renders for snap.
func serversOf(snap sdk.Snapshot) map[string]string {
	servers := map[string]string{}
	for _, service := range snap.Services {
		for _, i := range service.Instances {
			p := i.Ports[0]
			servers[fmt.Sprintf("%s-%d/%s-%s", service.Name, p.ServicePort, i.Hostname, i.ID)] =
				fmt.Sprintf("%s:%d weight 1", p.IP, p.Port)
		}
	}
	return servers
}

var versionLine = regexp.MustCompile(`^# template ([0-9]+), catalogue (\S*)\n`)

// documentVersion returns the number of the template and the name of the cluster that a document was rendered from.
func documentVersion(content string) (template int, cluster string) {
	m := versionLine.FindStringSubmatch(content)
	if m == nil {
		return 0, ""
	}
	template, _ = strconv.Atoi(m[1])
	return template, m[2]
}

// chaosTemplate returns a template that writes its number into the document. Templates with different numbers differ in lines
// that need a reload, in nothing but servers, or not at all. environment is for chaosEnvironment.
func chaosTemplate(number, environment int) string {
	variables, header := "", ""
	if environment > 0 {
		variables = fmt.Sprintf("  setenv CHAOS_SET s%d\n  presetenv CHAOS_PRESET p%d\n", environment, environment/2)
		header = "  http-response set-header X-Environment \"${CHAOS_SET}-${CHAOS_PRESET}\"\n"
	}
	return fmt.Sprintf(`# template %d, catalogue {{ .Cluster }}
global
%s  maxconn 400
defaults
  mode http
  retries 3
  option redispatch
  timeout connect 5s
  timeout client 1%ds
  timeout server 10s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
%s  default_backend {{ $name }}-{{ $port }}
backend {{ $name }}-{{ $port }}
{{ range $instances }}  server {{ serverName . }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}`, number, variables, number/4%10, header) + chaosInputFrontend()
}
