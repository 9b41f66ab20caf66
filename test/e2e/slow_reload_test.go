package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// slowFor is how long HAProxy takes to load. It is that long because nobody must lose patience meanwhile.
const slowFor = 30 * time.Second

func TestAReloadThatTakesLong(t *testing.T) {
	t.Parallel()
	s := newSite(t, `template = "haproxy.tmpl"`, `verify_cmd = "true"`) // HAProxy's own check would load the script too
	template := func(more string) string {
		return fmt.Sprintf(`global
  maxconn 200
  %s
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
listen {{ $name }}-{{ $port }}
  bind {{ bindIP }}:{{ $port }}
{{ range $instances }}  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }}
{{ end }}{{ end }}{{ end }}`, more)
	}
	g := s.newGate()
	s.write("haproxy.tmpl", template(""))
	s.serve("web", "a", 8000)
	s.start()
	s.agrees()
	worker, reloads := s.workerPID(), s.count("reloads")
	load := s.load(8000)

	g.close()
	t.Cleanup(g.open)
	s.write("haproxy.tmpl", template(g.script()))
	s.template = nil
	g.reached()
	s.serve("web", "b", 8000)
	time.AfterFunc(slowFor, g.open)
	s.eventually("the API tells that HAProxy is loading", func() bool {
		p := s.pipeline()
		if len(p.Problems) > 0 {
			t.Errorf("while HAProxy loads, these are called problems: %q", p.Problems)
		}
		return p.Facts["loading_for"] != ""
	})
	if !s.healthy() {
		t.Error("while HAProxy loads, the one before serves, and health should say so")
	}
	s.answered(8000, "a")
	s.agrees()
	s.answered(8000, "b")
	load.unharmed(t)
	want := 1
	if strings.HasPrefix(s.pipeline().Facts["version"], "2.6") {
		want = 2 // the script sees only servers that HAProxy has loaded, so that the new one takes a reload too
	}
	if done := s.count("reloads") - reloads; done != want || s.workerPID() == worker {
		t.Errorf("there were %d reloads, want %d; the worker was %d and is %d", done, want, worker, s.workerPID())
	}
	s.eventually("healthy", s.healthy)
}
