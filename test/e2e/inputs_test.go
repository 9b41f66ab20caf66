package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// inputPort is where HAProxy serves the file that it has loaded.
const inputPort = 8500

// newInputsEnv starts a daemon whose template names the file "page". HAProxy reads it when it loads its configuration.
func newInputsEnv(t *testing.T, settings ...string) *testEnv {
	t.Helper()
	env := newTestEnv(t, append(settings, `template = "haproxy.tmpl"`, `reload_interval = "50ms"`)...)
	env.write("haproxy.tmpl", fmt.Sprintf("%s\nfrontend page\n    mode http\n    timeout client 1s\n    bind %s:%d\n"+
		"    http-request return status 200 content-type text/plain file %s if TRUE\n",
		templates.Builtin(), env.ip, inputPort, env.path("page")))
	env.write("page", "one")
	env.startInstance("web", "a", 8000)
	env.start()
	env.waitAnswer(inputPort, "one")
	env.eventually("healthy", env.healthy)
	env.waitInSync()
	return env
}

// waitReloadReason waits for a reload with that trigger whose reason names the file.
func (env *testEnv) waitReloadReason(file, trigger string) {
	env.t.Helper()
	env.waitPipeline("a reload for "+file, func(p server.Pipeline) bool {
		return p.Last != nil && p.Last.Action == sdk.ActionReload && strings.Contains(p.Last.Reason, file) &&
			p.Last.Trigger == trigger
	})
}

func TestInputs_LoadedByApplyAndSIGHUP(t *testing.T) {
	t.Parallel()
	env := newInputsEnv(t)
	load := env.startLoad(8000)
	before, worker := env.reloads(), env.workerPID()

	env.write("page", "two")
	env.startInstance("web", "b", 8000) // a push does not load the file
	env.waitInSync()
	env.waitAnswer(inputPort, "one")
	if code := env.post("/api/v1/pipelines/haproxy/apply"); code != http.StatusOK && code != http.StatusAccepted {
		t.Fatalf("apply answers %d", code)
	}
	env.waitAnswer(inputPort, "two")
	env.waitReloadReason("page", history.TriggerRequest)

	env.write("page", "three")
	env.sighup()
	env.waitAnswer(inputPort, "three")
	env.waitReloadReason("page", history.TriggerReread)

	env.log.reset()
	env.sighup()
	env.waitLogged("trigger=reread")
	if after := env.reloads(); after != before+2 || env.workerPID() == worker {
		t.Errorf("%d reloads, want 2", after-before)
	}
	load.wantNoFailures(t)
}

func TestInputs_LoadedByWatch(t *testing.T) {
	t.Parallel()
	env := newInputsEnv(t, `watch = ["page", "later/*.pem"]`)
	load := env.startLoad(8000)
	before := env.reloads()

	env.write("page", "two")
	env.waitAnswer(inputPort, "two")
	env.waitReloadReason("page", history.TriggerInputs)

	env.write("page", "two") // the content is unchanged
	if err := os.MkdirAll(env.path("later"), 0o755); err != nil {
		t.Fatal(err)
	}
	env.write("later/a.pem", "HAProxy does not read it, as far as anybody knows")
	env.eventually("another reload", func() bool { return env.reloads() == before+2 })
	env.waitReloadReason("later/a.pem", history.TriggerInputs)

	if err := os.Remove(env.path("page")); err != nil {
		t.Fatal(err)
	}
	env.eventually("a problem that names the file", func() bool {
		code, body := env.health()
		return code == http.StatusInternalServerError && strings.Contains(body, env.path("page"))
	})
	env.waitAnswer(inputPort, "two")
	env.write("page", "two")
	env.eventually("healthy", env.healthy)
	env.write("page", "three")
	env.waitAnswer(inputPort, "three")
	env.waitReloadReason("page", history.TriggerInputs) // a reload is counted after HAProxy answers
	if after := env.reloads(); after != before+3 {
		t.Errorf("%d reloads, want 3", after-before)
	}
	load.wantNoFailures(t)
}

// Files that changed while the daemon was down are loaded when it starts; unchanged ones are not.
func TestInputs_ChangedWhileDaemonWasDown(t *testing.T) {
	t.Parallel()
	env := newInputsEnv(t, `watch = ["page", "*"]`)
	env.kill()
	before := env.workerPID()
	env.start()
	env.eventually("healthy", env.healthy)
	env.waitInSync()
	env.waitLogged("configuration applied")
	if now := env.workerPID(); now != before {
		t.Errorf("the worker was %d and is %d", before, now)
	}
	env.kill()
	env.write("page", "two")
	env.start()
	env.waitAnswer(inputPort, "two")
	env.eventually("healthy", env.healthy)
	env.waitInSync()
}

// Files that the sink writes are not watched, so that a change does not cause another one.
func TestInputs_OwnFilesAreNotWatched(t *testing.T) {
	t.Parallel()
	env := newInputsEnv(t, `watch = ["*"]`)
	before := env.reloads()
	for _, id := range []string{"b", "c", "d"} {
		env.startInstance("web", id, 8000)
		env.waitInSync()
	}
	env.write("page", "two")
	env.waitAnswer(inputPort, "two")
	env.waitReloadReason("page", history.TriggerInputs)
	if after := env.reloads(); after != before+1 {
		t.Errorf("%d reloads, want 1", after-before)
	}
}
