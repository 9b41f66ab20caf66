package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A templateEditor saves revisions of a template in the ways in which editors write files. A third of the revisions are invalid.
type templateEditor struct {
	env    *testEnv
	rand   *rand.Rand
	valid  map[int]bool // the revisions that HAProxy may serve
	newest int          // the newest valid revision
}

// templateRevision returns the template with that number. Revisions differ in lines that need a reload, in nothing but servers,
// or not at all.
func templateRevision(number int) string {
	return fmt.Sprintf(`# edit %d
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
  http-response set-header X-Edit %d
  default_backend {{ $name }}-{{ $port }}
backend {{ $name }}-{{ $port }}
{{ range $instances }}  server {{ serverName . }} {{ ipFor $port . }}:{{ portFor $port . }} weight %d
{{ end }}{{ end }}{{ end }}`, number, number/4*4, 1+number%4)
}

// invalidRevision returns a template that does not compile, does not render, or that HAProxy rejects.
func (e *templateEditor) invalidRevision(number int) string {
	content := strings.ReplaceAll(templateRevision(number), fmt.Sprintf("X-Edit %d", number/4*4), "X-Edit broken")
	switch e.rand.IntN(4) {
	case 0:
		return content[:len(content)*2/3]
	case 1:
		return content + "{{ nonsense }}"
	case 2:
		return content + "{{ range .Services }}{{ (index . 0).Nothing }}{{ end }}"
	default:
		return content + "\nbackend x\n  bogus line\n"
	}
}

// save saves the revision with that number. A third of the revisions are invalid unless valid is set.
func (e *templateEditor) save(number int, good bool) {
	content := templateRevision(number)
	if !good && e.rand.IntN(3) == 0 {
		content = e.invalidRevision(number)
	} else {
		e.valid[number/4*4], e.newest = true, number
	}
	path := e.env.path("haproxy.tmpl")
	switch e.rand.IntN(3) {
	case 0: // writes in place
		e.env.writeInPlace("haproxy.tmpl", content)
	case 1: // writes a new file and renames it
		e.env.write("haproxy.tmpl.new", content)
		e.must(os.Rename(path+".new", path))
	default: // renames the old file and writes a new one in two steps, as vim does
		e.must(os.Rename(path, path+"~"))
		f, err := os.Create(path)
		e.must(err)
		_, err = f.WriteString(content[:len(content)/2])
		e.must(err)
		_, err = f.WriteString(content[len(content)/2:])
		e.must(err)
		e.must(f.Close())
		e.must(os.Remove(path + "~"))
	}
}

func (e *templateEditor) must(err error) {
	e.env.t.Helper()
	if err != nil {
		e.env.t.Fatal(err)
	}
}

// servedRevision returns the revision that HAProxy serves.
func (env *testEnv) servedRevision(servicePort int) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(fmt.Sprintf("http://%s:%d/", env.ip, servicePort))
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Header.Get("X-Edit")
}

// A template is saved a thousand times, a third of them invalid, while instances come and go and requests are sent.
func TestTemplate_ThousandEditsUnderLoad(t *testing.T) {
	t.Parallel()
	const edits = 1000
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "100ms"`, `drain_timeout = "2s"`)
	e := &templateEditor{env: env, rand: rand.New(rand.NewPCG(5, 1)), valid: map[int]bool{0: true}}
	env.write("haproxy.tmpl", templateRevision(0))
	env.startInstance("web", "stays", 8000)
	env.start()
	env.waitAnswer(8000, "stays")
	env.eventually("healthy", env.healthy)
	env.waitInSync() // so that all files exist
	before := env.stableResources()

	load := env.startLoad(8000)
	var instances sync.WaitGroup
	done := make(chan struct{})
	instances.Go(func() { env.addAndRemoveInstances(done) })
	for number := 1; number <= edits; number++ {
		waits := number%50 == 0 // the other revisions are saved without a pause
		e.save(number, waits)
		if number%5 == 0 {
			e.wantValidRevision(env.servedRevision(8000))
		}
		if waits {
			newest := strconv.Itoa(e.newest / 4 * 4)
			env.eventually("revision "+newest+" is applied", func() bool { return env.servedRevision(8000) == newest })
		}
	}
	close(done)
	instances.Wait()
	load.wantNoFailures(t)

	e.env.write("haproxy.tmpl", templateRevision(edits+4))
	want := strconv.Itoa((edits + 4) / 4 * 4)
	env.eventually("the last revision is applied", func() bool { return env.servedRevision(8000) == want })
	env.eventually("the file is what the template renders", func() bool {
		out, err := env.command("render", "--state", env.sidecar.URL("/state.json")).Output()
		return err == nil && env.read("haproxy.cfg") == string(out)
	})
	env.eventually("the resources are as before", func() bool { return env.resources() == before })
}

// wantValidRevision fails the test if the served revision is not a valid one.
func (e *templateEditor) wantValidRevision(shown string) {
	e.env.t.Helper()
	if number, err := strconv.Atoi(shown); err != nil || !e.valid[number] {
		e.env.t.Errorf("revision %q is served, and the newest valid one is %d", shown, e.newest)
	}
}

// addAndRemoveInstances adds and removes instances of the service web until done is closed.
func (env *testEnv) addAndRemoveInstances(done <-chan struct{}) {
	for number := 0; ; number++ {
		select {
		case <-done:
			return
		default:
		}
		id := fmt.Sprintf("guest%d", number)
		env.startInstance("web", id, 8000)
		env.eventually(id+" is added", func() bool { return strings.Contains(env.read("haproxy.cfg"), id) })
		env.sidecar.Remove("host-"+id, id)
		env.eventually(id+" is removed", func() bool { return !strings.Contains(env.read("haproxy.cfg"), id) })
	}
}

// stableResources waits until the resources stay the same for a while, and returns them. Processes that have just started use
// more or fewer.
func (env *testEnv) stableResources() string {
	env.t.Helper()
	const looks = 5
	last, same := "", 0
	env.eventually("stable resources", func() bool {
		now := env.resources()
		if now != last {
			last, same = now, 0
		}
		same++
		time.Sleep(50 * time.Millisecond)
		return same > looks
	})
	return last
}

// resources lists what a daemon must not leak: processes, files in its directory, open files other than connections.
func (env *testEnv) resources() string {
	var all []string
	for _, pid := range append([]int{env.cmd.Process.Pid}, childPIDs(env.cmd.Process.Pid)...) {
		all = append(all, fmt.Sprintf("%d files open", plainFiles(pid)))
	}
	all = append(all, fmt.Sprintf("%d workers", len(childPIDs(env.masterPID()))))
	names, _ := filepath.Glob(env.path("*"))
	hidden, _ := filepath.Glob(env.path(".*"))
	return strings.Join(append(all, fmt.Sprintf("%d files, %d hidden", len(names), len(hidden))), "; ")
}

// plainFiles returns how many files other than connections a process has open.
func plainFiles(pid int) (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && !strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}
