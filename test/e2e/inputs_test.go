package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// pagePort is where HAProxy shows the file that it has loaded.
const pagePort = 8500

// withPage has the template name the file "page", which HAProxy reads when it loads its configuration.
func withPage(t *testing.T, settings ...string) *site {
	t.Helper()
	s := newSite(t, append(settings, `template = "haproxy.tmpl"`, `reload_interval = "50ms"`)...)
	s.write("haproxy.tmpl", fmt.Sprintf("%s\nfrontend page\n    mode http\n    timeout client 1s\n    bind %s:%d\n"+
		"    http-request return status 200 content-type text/plain file %s if TRUE\n",
		templates.Builtin(), s.ip, pagePort, s.path("page")))
	s.write("page", "one")
	s.serve("web", "a", 8000)
	s.start()
	s.answered(pagePort, "one")
	s.eventually("healthy", s.healthy)
	s.agrees()
	return s
}

func (s *site) reloads() int { return s.count("reloads") }

// reloadedFor waits for a reload whose reason names the file.
func (s *site) reloadedFor(file, trigger string) {
	s.t.Helper()
	s.pipelineThat("a reload for "+file, func(p server.Pipeline) bool {
		return p.Last != nil && p.Last.Action == sdk.ActionReload && strings.Contains(p.Last.Reason, file) &&
			p.Last.Trigger == trigger
	})
}

func TestInputs_ApplyAndSIGHUPLoadWhatChanged(t *testing.T) {
	t.Parallel()
	s := withPage(t)
	load := s.load(8000)
	before, worker := s.reloads(), s.workerPID()

	s.write("page", "two")
	s.serve("web", "b", 8000) // a push does not load it
	s.agrees()
	s.answered(pagePort, "one")
	if code := s.post("/api/v1/pipelines/haproxy/apply"); code != http.StatusOK && code != http.StatusAccepted {
		t.Fatalf("apply answers %d", code)
	}
	s.answered(pagePort, "two")
	s.reloadedFor("page", engine.TriggerRequest)

	s.write("page", "three")
	s.hangup()
	s.answered(pagePort, "three")
	s.reloadedFor("page", engine.TriggerReread)

	s.log.reset()
	s.hangup()
	s.logged("no file has changed")
	if after := s.reloads(); after != before+2 || s.workerPID() == worker {
		t.Errorf("%d reloads, want 2", after-before)
	}
	load.unharmed(t)
}

func TestInputs_WatchLoadsWhatChanged(t *testing.T) {
	t.Parallel()
	s := withPage(t, `watch = ["page", "later/*.pem"]`)
	load := s.load(8000)
	before := s.reloads()

	s.write("page", "two")
	s.answered(pagePort, "two")
	s.reloadedFor("page", engine.TriggerInputs)

	s.write("page", "two") // the same
	if err := os.MkdirAll(s.path("later"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("later/a.pem", "HAProxy does not read it, as far as anybody knows")
	s.eventually("another reload", func() bool { return s.reloads() == before+2 })
	s.reloadedFor("later/a.pem", engine.TriggerInputs)

	if err := os.Remove(s.path("page")); err != nil {
		t.Fatal(err)
	}
	s.eventually("a problem that names the file", func() bool {
		code, body := s.health()
		return code == http.StatusInternalServerError && strings.Contains(body, s.path("page"))
	})
	s.answered(pagePort, "two")
	s.write("page", "two")
	s.eventually("healthy", s.healthy)
	s.write("page", "three")
	s.answered(pagePort, "three")
	if after := s.reloads(); after != before+3 {
		t.Errorf("%d reloads, want 3", after-before)
	}
	load.unharmed(t)
}

// What changed while the daemon was down is loaded when it is back, and nothing else is.
func TestInputs_WatchSeesWhatChangedWhileTheDaemonWasDown(t *testing.T) {
	t.Parallel()
	s := withPage(t, `watch = ["page", "*"]`)
	s.kill()
	before := s.workerPID()
	s.start()
	s.eventually("healthy", s.healthy)
	s.agrees()
	s.logged("configuration applied")
	if now := s.workerPID(); now != before {
		t.Errorf("the worker was %d and is %d", before, now)
	}
	s.kill()
	s.write("page", "two")
	s.start()
	s.answered(pagePort, "two")
	s.eventually("healthy", s.healthy)
	s.agrees()
}

// The sink's own files are not watched, so that no change is the cause of another one.
func TestInputs_OwnFilesAreNotWatched(t *testing.T) {
	t.Parallel()
	s := withPage(t, `watch = ["*"]`)
	before := s.reloads()
	for _, id := range []string{"b", "c", "d"} {
		s.serve("web", id, 8000)
		s.agrees()
	}
	s.write("page", "two")
	s.answered(pagePort, "two")
	s.agrees()
	if after := s.reloads(); after != before+1 {
		t.Errorf("%d reloads, want 1", after-before)
	}
}
