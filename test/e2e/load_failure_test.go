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
func TestTemplate_HAProxyCannotLoad(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	env.write("haproxy.tmpl", templateRevision(4))
	env.startInstance("web", "web-1", 8000)
	env.start()
	env.waitAnswer(8000, "web-1")
	env.eventually("healthy", env.healthy)

	missing := env.path("nowhere")
	env.write("haproxy.tmpl", strings.Replace(templateRevision(8), "global\n", "global\n  chroot "+missing+"\n", 1))
	refused := func(p server.Pipeline) bool { return strings.Contains(p.TemplateError, missing) }
	env.waitPipeline("has a template error with HAProxy's words", refused)
	env.waitAnswer(8000, "web-1")
	masters := []int{env.masterPID()}
	for i, port := range []int64{8001, 8002, 8003} {
		id := []string{"chat-1", "shop-1", "news-1"}[i]
		env.startInstance(strings.TrimSuffix(id, "-1"), id, port)
		env.waitAnswer(int(port), id)
		masters = append(masters, env.masterPID())
	}
	if slices.Max(masters) != slices.Min(masters) {
		t.Errorf("HAProxy's master was started again: %v", masters)
	}
	env.waitPipeline("still has the template error, and is healthy otherwise", func(p server.Pipeline) bool {
		return refused(p) && len(p.Problems) == 0
	})
	if shown := env.servedRevision(8000); shown != "4" {
		t.Errorf("edit %s is live", shown)
	}
	env.write("haproxy.tmpl", templateRevision(12))
	env.eventually("the mended template is live", func() bool { return env.servedRevision(8000) == "12" })
	env.waitPipeline("has no template error", func(p server.Pipeline) bool { return p.TemplateError == "" })
}

// An edited template loads, and HAProxy ends a moment later. The template before is live again, and stays.
func TestTemplate_EndsHAProxyAfterLoad(t *testing.T) {
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "500ms"`)
	env.write("haproxy.tmpl", templateRevision(4))
	env.startInstance("web", "web-1", 8000)
	env.start()
	env.waitAnswer(8000, "web-1")
	env.eventually("healthy", env.healthy)
	env.eventually("HAProxy has been up for so long that a later end is no consequence of the last change", func() bool {
		_, uptime, _ := strings.Cut(env.askHAProxy("haproxy.master.sock", "@1 show info"), "Uptime_sec: ")
		seconds, _, _ := strings.Cut(uptime, "\n")
		n, err := strconv.Atoi(strings.TrimSpace(seconds))
		return err == nil && n > 11
	})

	env.write("end.lua", "core.register_task(function() core.msleep(1000) os.exit(7) end)\n")
	env.write("haproxy.tmpl", strings.Replace(templateRevision(8), "global\n", "global\n  lua-load "+env.path("end.lua")+"\n", 1))
	env.waitPipeline("has a template error", func(p server.Pipeline) bool { return p.TemplateError != "" })
	env.waitAnswer(8000, "web-1")
	if shown := env.servedRevision(8000); shown != "4" {
		t.Errorf("edit %s is live", shown)
	}
	master := env.masterPID()
	env.startInstance("chat", "chat-1", 8001)
	env.waitAnswer(8001, "chat-1")
	if now := env.masterPID(); now != master {
		t.Errorf("HAProxy's master %d was started again as %d", master, now)
	}
	env.eventually("healthy", env.healthy)
}
