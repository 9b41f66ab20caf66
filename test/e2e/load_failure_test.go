package e2e_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/server"
)

// An edited template passes HAProxy's check and then keeps a new worker from starting. HAProxy is interrupted once at most, and
// what the catalogue brings goes live with the template before.
func TestTemplateThatHAProxyCannotLoad_IsTriedOnce(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	s.write("haproxy.tmpl", edited(4))
	s.serve("web", "web-1", 8000)
	s.start()
	s.answered(8000, "web-1")
	s.eventually("healthy", s.healthy)

	missing := s.path("nowhere")
	s.write("haproxy.tmpl", strings.Replace(edited(8), "global\n", "global\n  chroot "+missing+"\n", 1))
	refused := func(p server.Pipeline) bool { return strings.Contains(p.TemplateError, missing) }
	s.pipelineThat("has a template error with HAProxy's words", refused)
	s.answered(8000, "web-1")
	masters := []int{s.masterPID()}
	for i, port := range []int64{8001, 8002, 8003} {
		id := []string{"chat-1", "shop-1", "news-1"}[i]
		s.serve(strings.TrimSuffix(id, "-1"), id, port)
		s.answered(int(port), id)
		masters = append(masters, s.masterPID())
	}
	if slices.Max(masters) != slices.Min(masters) {
		t.Errorf("HAProxy's master was started again: %v", masters)
	}
	s.pipelineThat("still has the template error, and is healthy otherwise", func(p server.Pipeline) bool {
		return refused(p) && len(p.Problems) == 0
	})
	if shown := s.shown(8000); shown != "4" {
		t.Errorf("edit %s is live", shown)
	}
	s.write("haproxy.tmpl", edited(12))
	s.eventually("the mended template is live", func() bool { return s.shown(8000) == "12" })
	s.pipelineThat("has no template error", func(p server.Pipeline) bool { return p.TemplateError == "" })
}

// An edited template loads, and HAProxy ends a moment later. The template before is live again, and stays.
func TestTemplateThatEndsHAProxy_IsRolledBack(t *testing.T) {
	s := newSite(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	s.write("haproxy.tmpl", edited(4))
	s.serve("web", "web-1", 8000)
	s.start()
	s.answered(8000, "web-1")
	s.eventually("healthy", s.healthy)
	s.eventually("HAProxy has been up for so long that a later end is no consequence of the last change", func() bool {
		_, uptime, _ := strings.Cut(s.ask("haproxy.master.sock", "@1 show info"), "Uptime_sec: ")
		seconds, _, _ := strings.Cut(uptime, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(seconds))
		return err == nil && n > 11
	})

	s.write("end.lua", "core.register_task(function() core.msleep(1000) os.exit(7) end)\n")
	s.write("haproxy.tmpl", strings.Replace(edited(8), "global\n", "global\n  lua-load "+s.path("end.lua")+"\n", 1))
	s.pipelineThat("has a template error", func(p server.Pipeline) bool { return p.TemplateError != "" })
	s.answered(8000, "web-1")
	if shown := s.shown(8000); shown != "4" {
		t.Errorf("edit %s is live", shown)
	}
	master := s.masterPID()
	s.serve("chat", "chat-1", 8001)
	s.answered(8001, "chat-1")
	if now := s.masterPID(); now != master {
		t.Errorf("HAProxy's master %d was started again as %d", master, now)
	}
	s.eventually("healthy", s.healthy)
}
