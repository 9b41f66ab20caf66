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

func TestGuard_SidecarRestart(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.start("--set", "sidecar.hold=10m", "--set", "sidecar.resync_interval=1s")
	for i := range 12 {
		env.startInstance(fmt.Sprintf("web%d", i), fmt.Sprint(i), int64(10100+i))
	}
	for i := range 12 {
		env.waitAnswer(10100+i, fmt.Sprint(i))
	}
	env.waitApplied()
	generation := env.waitGenerationApplied().Generation
	loads := []*load{env.startLoad(10100), env.startLoad(10105), env.startLoad(10111)}

	env.sidecar.Restart() // it knows only its own node, which has no service
	p := env.waitPipeline("held", func(p server.Pipeline) bool { return p.Held != nil })
	if !strings.Contains(p.Held.Reason, "12 live instances") || p.Generation != generation {
		t.Errorf("held %+v, generation %d, before %d", p.Held, p.Generation, generation)
	}
	env.eventually("healthy", env.healthy)
	if body, err := get("http://" + env.apiAddress + "/ready"); err != nil {
		t.Errorf("ready: %v %s", err, body)
	}
	out := env.output("status")
	if !strings.Contains(out, "! snapshot held: ") || !strings.Contains(out, p.Held.Reason) {
		t.Errorf("status says\n%s", out)
	}

	env.startInstance("web0", "again", 10100) // one of twelve services is known again
	env.waitPipeline("still held", func(p server.Pipeline) bool {
		return p.Held != nil && strings.Contains(p.Held.Reason, "11 of 12")
	})
	for _, l := range loads {
		l.wantNoFailures(t)
	}
	if code := env.post("/api/v1/pipelines/haproxy/release"); code != http.StatusOK {
		t.Errorf("release answers %d", code)
	}
	env.waitAnswer(10100, "again")
	env.waitPipeline("no longer held", func(p server.Pipeline) bool { return p.Held == nil })
	env.eventually("the released services are removed", func() bool { _, err := env.get(10111); return err != nil })
}

func TestStateDir_RestartWithoutSidecar(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	kept := []string{"--set", "haproxy_api.state_dir=" + env.path("state")}
	env.start(kept...)
	env.startInstance("web", "one", 10100)
	env.waitAnswer(10100, "one")
	env.waitApplied()
	before := env.waitGenerationApplied()
	env.stop()
	env.sidecar.Close()
	if err := syscall.Kill(env.masterPID(), syscall.SIGKILL); err != nil { // as after a restart of the machine
		t.Fatal(err)
	}
	env.eventually("HAProxy does not answer", func() bool { _, err := env.get(10100); return err != nil })
	for _, name := range []string{"haproxy.cfg", "haproxy.cfg.applied"} {
		_ = os.Remove(env.path(name))
	}

	env.start(kept...)
	env.waitAnswer(10100, "one")
	p := env.waitPipeline("stale and applied", func(p server.Pipeline) bool { return p.StaleSince != nil && p.Since != nil })
	if p.Generation != before.Generation || p.Digest != before.Digest {
		t.Errorf("generation %d %s, before %d %s", p.Generation, p.Digest, before.Generation, before.Digest)
	}
	if out := env.output("status"); !strings.Contains(out, "stale source") {
		t.Errorf("status says\n%s", out)
	}
	env.eventually("healthy", env.healthy)

	// The daemon also starts with an invalid template.
	env.stop()
	env.write("haproxy.tmpl", "{{ nonsense }}")
	env.start(append(kept, "--set", "haproxy.template=haproxy.tmpl")...)
	env.waitPipeline("applied without a template", func(p server.Pipeline) bool {
		return p.Digest == before.Digest && strings.Contains(p.TemplateError, `function "nonsense" not defined`)
	})
	env.waitAnswer(10100, "one")

	// The daemon also starts with damaged files.
	env.stop()
	env.write("state/source-sidecar.json", "malformed")
	env.write("state/pipeline-haproxy.json", "malformed")
	env.start(kept...)
	env.eventually("the damaged files are set aside", func() bool {
		return env.read("state/source-sidecar.json.damaged") != "" && env.read("state/pipeline-haproxy.json.damaged") != ""
	})
	env.waitAnswer(10100, "one") // HAProxy keeps running
}

func TestStateDir_IsLocked(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	kept := "haproxy_api.state_dir=" + env.path("state")
	env.start("--set", kept)
	env.startInstance("web", "one", 10100)
	env.waitAnswer(10100, "one")
	out := env.output("run", "--set", kept, "--set", "haproxy_api.bind_port=0",
		"--set", "haproxy.config_file="+env.path("other.cfg"), "--set", "haproxy.pid_file="+env.path("other.pid"))
	if !strings.Contains(out, "another haproxy-api uses it") {
		t.Errorf("the second daemon prints\n%s", out)
	}
}
