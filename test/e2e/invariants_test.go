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

// accounts are kept while there is chaos: each request that failed, each document that was on disk, and what may be believed.
type accounts struct {
	s     *site
	stop  func()
	asked atomic.Int64

	mu        sync.Mutex
	failures  []failure
	outages   []outage
	inPlace   []outage             // times in which a part of a document may have been on disk
	seen      map[string]time.Time // documents on disk
	believed  map[string]sdk.Snapshot
	templates map[int]string
	forgiven  int
	documents int // that were seen on disk, as often as there was a calm between
}

type failure struct {
	from, to time.Time
	err      error
}

// outage is a time in which HAProxy was dead because it was killed.
type outage struct{ from, to time.Time }

func newAccounts(s *site) *accounts {
	return &accounts{
		s: s, seen: map[string]time.Time{}, believed: map[string]sdk.Snapshot{}, templates: map[int]string{}, stop: func() {},
	}
}

// open starts asking each service, over new connections and over kept ones, and looking at the file.
func (a *accounts) open(services int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for n := range services {
		url := fmt.Sprintf("http://%s:%d/", a.s.ip, chaosPort+n)
		for _, kept := range []bool{true, false} {
			wg.Go(func() { a.ask(ctx, url, strconv.Itoa(n), kept) })
		}
	}
	wg.Go(func() { a.look(ctx) })
	a.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (a *accounts) close() { a.stop() }

func (a *accounts) ask(ctx context.Context, url, want string, kept bool) {
	transport := &http.Transport{DisableKeepAlives: !kept}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: patience, Transport: transport}
	for ctx.Err() == nil {
		from := time.Now()
		body, err := getBy(client, url)
		if err == nil && body != want {
			err = fmt.Errorf("%s answers as %q, not %q", url, body, want)
		}
		a.asked.Add(1)
		if err != nil {
			a.mu.Lock()
			a.failures = append(a.failures, failure{from, time.Now(), err})
			a.mu.Unlock()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// look notes every document that it finds on disk.
func (a *accounts) look(ctx context.Context) {
	for ctx.Err() == nil {
		found, err := os.ReadFile(a.s.path(a.s.config))
		content := string(found)
		if err != nil {
			content = err.Error()
		}
		a.mu.Lock()
		if _, known := a.seen[content]; !known {
			a.seen[content] = time.Now()
		}
		a.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

// outage begins one; what it returns ends it.
func (a *accounts) outage() (back func()) {
	from := time.Now()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.outages = append(a.outages, outage{from, time.Now()})
	}
}

// writtenInPlace excuses documents that were found on disk between the two times: a file that is a mount point is not renamed
// over.
func (a *accounts) writtenInPlace(from, to time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inPlace = append(a.inPlace, outage{from, to})
}

func (a *accounts) inPlaceAt(at time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.inPlace, func(o outage) bool { return at.After(o.from) && at.Before(o.to) })
}

func (a *accounts) believe(snap sdk.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.believed[snap.Cluster] = snap
}

func (a *accounts) accept(number int, content string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.templates[number] = content
}

// audit fails the test for each request that was lost outside of an outage, and for each document on disk that is not what an
// accepted template makes of a catalogue that may be believed.
func (a *accounts) audit() {
	a.s.t.Helper()
	a.mu.Lock()
	failures, outages, seen := a.failures, a.outages, a.seen
	a.failures, a.seen = nil, map[string]time.Time{}
	a.mu.Unlock()
	for _, f := range failures {
		if !f.excusedBy(outages) {
			a.s.t.Errorf("a request from %s to %s failed: %v", f.from.Format(stamp), f.to.Format(stamp), f.err)
			continue
		}
		a.mu.Lock()
		a.forgiven++
		a.mu.Unlock()
	}
	for content, at := range seen {
		number, cluster := marks(content)
		want := a.rendered(number, cluster)
		if a.inPlaceAt(at) {
			continue
		}
		if want == "" || content != want && !a.bridged(content, want) {
			a.s.t.Errorf("at %s template %d with catalogue %q was on disk, which is nothing that may be in effect:\n%s\nbut:\n%s",
				at.Format(stamp), number, cluster, content, want)
		}
	}
	a.mu.Lock()
	a.documents += len(seen)
	a.mu.Unlock()
}

const stamp = "15:04:05.000"

func (f failure) excusedBy(outages []outage) bool {
	for _, o := range outages {
		if f.to.After(o.from) && f.from.Before(o.to) {
			return true
		}
	}
	return false
}

// rendered is what the template of that number makes of the catalogue of that name; nothing where one of them is not to be
// believed.
func (a *accounts) rendered(number int, cluster string) string {
	a.mu.Lock()
	content, accepted := a.templates[number]
	snap, believed := a.believed[cluster]
	a.mu.Unlock()
	if !accepted || !believed {
		return ""
	}
	a.s.write("accounts.tmpl", content)
	template, err := templates.New(templates.Config{Path: a.s.path("accounts.tmpl"), BindIP: a.s.ip}).Load()
	if err != nil {
		a.s.t.Fatal(err)
	}
	files, _, err := template.Render(a.s.t.Context(), snap)
	if err != nil {
		a.s.t.Fatal(err)
	}
	return string(files[0].Content)
}

// bridged reports whether content is want with the servers of another catalogue that may be believed, white space aside: while a
// reload has to wait, servers go live under the template that is in effect.
func (a *accounts) bridged(content, want string) bool {
	if withoutServers(content) != withoutServers(want) {
		return false
	}
	servers := serversIn(content)
	a.mu.Lock()
	believed := slices.Collect(maps.Values(a.believed))
	a.mu.Unlock()
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

// serversOf returns what serversIn finds in what a chaosTemplate makes of snap.
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

var marked = regexp.MustCompile(`^# template ([0-9]+), catalogue (\S*)\n`)

// marks returns the number of the template and the name of the catalogue of which a document was made.
func marks(content string) (template int, cluster string) {
	m := marked.FindStringSubmatch(content)
	if m == nil {
		return 0, ""
	}
	template, _ = strconv.Atoi(m[1])
	return template, m[2]
}

// chaosTemplate is a template that says which it is. What numbers differ in needs a reload, nothing but servers changed, or
// nothing. environment is for chaosEnvironment.
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
