package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// pipelineThat waits for the only pipeline to be like that.
func (s *site) pipelineThat(what string, is func(server.Pipeline) bool) server.Pipeline {
	s.t.Helper()
	var p server.Pipeline
	s.eventually(what, func() bool {
		if s.apiAnswers() {
			p = s.pipeline()
		}
		return is(p)
	})
	return p
}

// inEffect waits until the last document that was offered is in effect.
func (s *site) inEffect() server.Pipeline {
	s.t.Helper()
	return s.pipelineThat("in effect", func(p server.Pipeline) bool {
		return p.Last != nil && p.Last.Error == "" && p.Last.Generation == p.Generation
	})
}

func (s *site) apiAnswers() bool {
	_, err := get("http://" + s.api + "/live")
	return err == nil
}

// post returns the status of the answer to a POST of nothing.
func (s *site) post(path string) int {
	s.t.Helper()
	resp, err := http.Post("http://"+s.api+path, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestARestartedSidecarDoesNotEmptyTheProxy(t *testing.T) {
	s := newSite(t)
	s.start("--set", "sidecar.hold=10m", "--set", "sidecar.resync_interval=1s")
	for i := range 12 {
		s.serve(fmt.Sprintf("web%d", i), fmt.Sprint(i), int64(10100+i))
	}
	for i := range 12 {
		s.answered(10100+i, fmt.Sprint(i))
	}
	s.converged()
	generation := s.inEffect().Generation
	loads := []*load{s.load(10100), s.load(10105), s.load(10111)}

	s.sidecar.Restart() // it knows its own host alone, which has no service
	p := s.pipelineThat("held", func(p server.Pipeline) bool { return p.Held != nil })
	if p.Held.Reason != "none of 12 live instances is left" || !s.healthy() || p.Generation != generation {
		t.Errorf("held %+v, generation %d, before %d", p.Held, p.Generation, generation)
	}
	if body, err := get("http://" + s.api + "/ready"); err != nil {
		t.Errorf("ready: %v %s", err, body)
	}
	out := s.output("status")
	if !strings.Contains(out, "held        until ") || !strings.Contains(out, "none of 12 live instances is left") {
		t.Errorf("status says\n%s", out)
	}

	s.serve("web0", "again", 10100) // gossip has reached it, with one service of twelve
	s.pipelineThat("still held", func(p server.Pipeline) bool {
		return p.Held != nil && p.Held.Reason == "11 of 12 live instances are gone, more than max_drop allows"
	})
	for _, l := range loads {
		l.unharmed(t)
	}
	if code := s.post("/api/v1/pipelines/haproxy/release"); code != http.StatusOK {
		t.Errorf("release answers %d", code)
	}
	s.answered(10100, "again")
	s.pipelineThat("no longer held", func(p server.Pipeline) bool { return p.Held == nil })
	s.eventually("the services that are gone are gone", func() bool { _, err := s.get(10111); return err != nil })
}

func TestAfterARestartWithoutSidecarTheSameIsServed(t *testing.T) {
	s := newSite(t)
	kept := []string{"--set", "haproxy_api.state_dir=" + s.path("state")}
	s.start(kept...)
	s.serve("web", "one", 10100)
	s.answered(10100, "one")
	s.converged()
	before := s.inEffect()
	s.stop()
	s.sidecar.Close()
	if err := syscall.Kill(s.masterPID(), syscall.SIGKILL); err != nil { // the machine was restarted
		t.Fatal(err)
	}
	s.eventually("nothing answers", func() bool { _, err := s.get(10100); return err != nil })
	for _, name := range []string{"haproxy.cfg", "haproxy.cfg.applied"} {
		_ = os.Remove(s.path(name))
	}

	s.start(kept...)
	s.answered(10100, "one")
	p := s.pipelineThat("stale and in effect", func(p server.Pipeline) bool { return p.StaleSince != nil && p.Since != nil })
	if p.Generation != before.Generation || p.Digest != before.Digest {
		t.Errorf("generation %d %s, before %d %s", p.Generation, p.Digest, before.Generation, before.Digest)
	}
	if out := s.output("status"); !strings.Contains(out, "stale       the catalogue is the one of ") {
		t.Errorf("status says\n%s", out)
	}
	s.eventually("healthy", s.healthy)

	// Nor is a template that somebody is just editing a reason not to start.
	s.stop()
	s.write("haproxy.tmpl", "{{ nonsense }}")
	s.start(append(kept, "--set", "haproxy.template=haproxy.tmpl")...)
	s.pipelineThat("in effect without a template", func(p server.Pipeline) bool {
		return p.Digest == before.Digest && strings.Contains(p.TemplateError, `function "nonsense" not defined`)
	})
	s.answered(10100, "one")

	// A damaged file is no reason not to start.
	s.stop()
	s.write("state/source-sidecar.json", "rubbish")
	s.write("state/pipeline-haproxy.json", "rubbish")
	s.start(kept...)
	s.eventually("it says so", func() bool { return strings.Count(s.log.String(), "what was kept is no good") == 2 })
	s.answered(10100, "one") // HAProxy goes on
}

func TestAStateDirIsForOneDaemon(t *testing.T) {
	s := newSite(t)
	kept := "haproxy_api.state_dir=" + s.path("state")
	s.start("--set", kept)
	s.serve("web", "one", 10100)
	s.answered(10100, "one")
	out := s.output("run", "--set", kept, "--set", "haproxy_api.bind_port=0",
		"--set", "haproxy.config_file="+s.path("other.cfg"), "--set", "haproxy.pid_file="+s.path("other.pid"))
	if !strings.Contains(out, "another haproxy-api uses it") {
		t.Errorf("the second one says\n%s", out)
	}
}
