package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// The history has the true trigger of every change. A killed daemon has it after the restart, which changes nothing.
func TestHistory_TrueTriggersAfterKill(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	template := string(templates.Builtin())
	env.write("edge.tmpl", template)
	env.write("haproxy-api.toml", strings.Replace(env.read("haproxy-api.toml"), "[haproxy]\n",
		fmt.Sprintf("[haproxy]\ntemplate = %q\n", env.path("edge.tmpl")), 1))
	env.startInstance("web", "a", 8000)
	state := []string{"--set", "haproxy_api.state_dir=" + env.path("state")}
	env.start(state...)
	env.waitInSync()
	env.eventually("healthy", env.healthy)
	wait := func(what, trigger, detail, action string) uint64 {
		return env.waitChange(0, what, func(c history.Change) bool {
			return c.Trigger.Kind == trigger && strings.HasSuffix(c.Trigger.Detail, detail) && c.Action == action &&
				c.Outcome == history.OutcomeApplied && c.Reason != ""
		})
	}

	env.startInstance("web", "b", 8000)
	push := wait("the push", history.TriggerPush, "127.0.0.1", sdk.ActionRuntime)
	env.write("edge.tmpl", strings.Replace(template, "default 4096", "default 2000", 1))
	save := wait("the save", history.TriggerSave, "edge.tmpl", sdk.ActionReload)
	env.eventually("the history is saved", func() bool {
		return strings.Contains(env.read("state/history-haproxy.jsonl"), fmt.Sprintf(`{"change":{"generation":%d,`, save))
	})
	env.eventually("the last good state is saved", func() bool {
		return strings.Contains(env.read("state/source-sidecar.json"), "host-b") &&
			strings.Contains(env.read("state/pipeline-haproxy.json"), fmt.Sprintf(`"Generation":%d,`, save))
	})
	before, since := env.changes(), env.pipeline().Since
	if code := env.post("/api/v1/pipelines/haproxy/apply"); code != http.StatusAccepted { // HAProxy has everything already
		t.Fatalf("apply: %d", code)
	}
	newest := before[0]

	env.kill()
	env.start(state...)
	env.eventually("healthy after the restart", env.healthy)
	env.waitGenerationApplied()
	after := env.changes()
	if last := after[0]; last.Generation != newest.Generation || len(after) != len(before) {
		t.Errorf("the history ended with %+v, and now with %+v", newest, last)
	}
	for _, generation := range []uint64{push, save} {
		is := func(c history.Change) bool { return c.Generation == generation }
		was, now := before[slices.IndexFunc(before, is)], after[max(0, slices.IndexFunc(after, is))]
		if now.Trigger != was.Trigger || now.Outcome != was.Outcome || now.Reason != was.Reason ||
			!slices.Equal(now.Instances, was.Instances) {
			t.Errorf("generation %d was %+v and is %+v", generation, was, now)
		}
	}
	if now := env.pipeline().Since; now == nil || since == nil || !now.Equal(*since) {
		t.Errorf("in effect since %v, before the restart %v", now, since)
	}
}
