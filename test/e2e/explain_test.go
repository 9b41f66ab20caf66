package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sources/sidecar/sidecartest"
)

// explainedTemplate has a header with the template's revision, one with a value from the configuration, and a backend that needs
// a file for the service late.
const explainedTemplate = `global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
{{ range $name, $instances := .Services }}{{ range $port, $_ := getPorts $name }}
frontend {{ $name }}-{{ $port }}-in
  bind {{ bindIP }}:{{ $port }}
  http-response set-header X-Edit 1
  http-response set-header X-User "user {{ $.User }}"
  default_backend {{ $name }}-{{ $port }}
backend {{ $name }}-{{ $port }}
{{- if eq $name "late" }}
  errorfile 503 late.http
{{- end }}
{{- range $instances }}
  server {{ .ID }} {{ ipFor $port . }}:{{ portFor $port . }} weight 10
{{- end }}
{{ end }}{{ end }}`

// An explained change is what explain prints as JSON.
type explained struct {
	Pipeline string `json:"pipeline"`
	history.Change
	Diff string `json:"diff"`
}

// explain returns what the command prints for a change.
func (env *testEnv) explain(args ...string) (change explained) {
	env.t.Helper()
	out := env.subcommandOutput(append([]string{"explain", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &change); err != nil {
		env.t.Fatalf("%v in\n%s", err, out)
	}
	return change
}

// changes returns the newest changes of the pipeline, newest first.
func (env *testEnv) changes() []history.Change {
	body, err := get("http://" + env.apiAddress + "/api/v1/pipelines/haproxy/generations?limit=200")
	var page server.Generations
	if err != nil || json.Unmarshal([]byte(body), &page) != nil {
		return nil
	}
	return page.Changes
}

// waitChange waits for a change after the one with that generation, and returns the number of the first that matches.
func (env *testEnv) waitChange(after uint64, what string, is func(history.Change) bool) (generation uint64) {
	env.t.Helper()
	defer func() {
		if env.t.Failed() {
			env.t.Logf("the history is\n%s", env.output("history"))
		}
	}()
	env.eventually("a change: "+what, func() bool {
		for _, c := range env.changes() { // the last match is the oldest
			if c.Generation > after && is(c) {
				generation = c.Generation
			}
		}
		return generation != 0
	})
	return generation
}

// An expectation is what explain has to say about a change.
type expectation struct {
	trigger, detail        string // the detail ends with this
	action, event, outcome string
	says                   string // in the reason, the error, the instances or the exclusions
	hasDiff                bool
}

func (e expectation) matches(c history.Change) bool {
	return c.Trigger.Kind == e.trigger && c.Action == e.action && c.Event == e.event && c.Outcome == e.outcome
}

func (e expectation) check(t *testing.T, c explained) {
	t.Helper()
	said := strings.Join(append(append([]string{c.Reason, c.Error}, c.Instances...), c.Excluded...), "\n")
	switch {
	case !e.matches(c.Change) || !strings.HasSuffix(c.Trigger.Detail, e.detail):
		t.Errorf("change %d is %+v %q %q %q, want %+v", c.Generation, c.Trigger, c.Action, c.Event, c.Outcome, e)
	case c.Reason == "" && c.Error == "" || !strings.Contains(said, e.says):
		t.Errorf("change %d says %q, want %q", c.Generation, said, e.says)
	case e.hasDiff != (c.Diff != ""):
		t.Errorf("change %d has the diff %q", c.Generation, c.Diff)
	case c.Pipeline != "haproxy" || c.Received.IsZero() || c.Updated.Before(c.Received):
		t.Errorf("change %d is of %q, received %s, updated %s", c.Generation, c.Pipeline, c.Received, c.Updated)
	}
}

// Each kind of change is explained, also after a restart of the daemon and after 50 more changes.
func TestExplain_EachKindOfChange(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "3s"`)
	env.write("haproxy.tmpl", explainedTemplate)
	env.startInstance("web", "a", 8000)
	args := []string{"--set", "haproxy_api.state_dir=" + env.path("state")}
	env.start(args...)
	env.waitAnswer(8000, "a")

	want := map[uint64]expectation{}
	newest := uint64(0)
	expect := func(e expectation) {
		t.Helper()
		newest = env.waitChange(newest, fmt.Sprintf("%+v", e), e.matches)
		want[newest] = e
		e.check(t, env.explain(strconv.FormatUint(newest, 10)))
	}
	applied := history.OutcomeApplied
	newest = env.waitChange(0, "the start", func(c history.Change) bool { return c.Outcome == applied })
	if c := env.explain("--reload"); c.Generation != newest || c.Action != sdk.ActionRestart || c.Reason == "" {
		t.Errorf("the last reload is %+v", c.Change)
	}

	second := env.startInstance("web", "b", 8000)
	expect(expectation{trigger: history.TriggerPush, detail: "127.0.0.1", action: sdk.ActionRuntime, outcome: applied,
		says: "+host-b", hasDiff: true})

	edited := strings.Replace(explainedTemplate, "X-Edit 1", "X-Edit 2", 1)
	env.write("haproxy.tmpl", edited)
	saved := expectation{trigger: history.TriggerSave, detail: "haproxy.tmpl", action: sdk.ActionReload, outcome: applied,
		hasDiff: true}
	expect(saved)
	if c := env.explain("--reload"); c.Generation != newest {
		t.Errorf("the last reload is %d, want %d", c.Generation, newest)
	}

	revision := 2
	env.eventually("a change is deferred", func() bool { // unless the machine is so busy that reload_interval is over
		revision++
		edited = strings.Replace(explainedTemplate, "X-Edit 1", fmt.Sprintf("X-Edit %d", revision), 1)
		env.write("haproxy.tmpl", edited)
		expect(saved)
		return env.explain(strconv.FormatUint(newest, 10)).Attempts > 1
	})

	env.write("haproxy.tmpl", edited+"\nbackend x\n  bogus line\n")
	expect(expectation{trigger: history.TriggerSave, detail: "haproxy.tmpl", outcome: history.OutcomeRejected, says: "bogus",
		hasDiff: true})
	env.write("haproxy.tmpl", edited)
	env.waitPipeline("the template is accepted", func(p server.Pipeline) bool { return p.TemplateError == "" && p.InSync })

	event := expectation{trigger: history.TriggerSink, outcome: history.OutcomeEvent}
	crashed, restarted, repaired := event, event, event
	env.eventually("the weight is changed", func() bool {
		command := fmt.Sprintf("@!%d set weight web-8000/a 5", env.workerPID())
		return strings.TrimSpace(env.askHAProxy("haproxy.master.sock", command)) == "" &&
			strings.HasSuffix(env.servers()["web-8000/a"].address, "weight 5")
	})
	repaired.event, repaired.says = sdk.EventDriftRepaired, "web-8000"
	expect(repaired)

	reloaded := env.pipeline().LastReload.Updated
	// A HAProxy that ends soon after a reload gets its previous configuration back.
	env.eventually("HAProxy has run for a while", func() bool { return time.Since(reloaded) > 12*time.Second })
	for _, pid := range []int{env.masterPID(), env.workerPID()} {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	crashed.event = sdk.EventCrashed
	expect(crashed)
	restarted.event = sdk.EventRestarted
	expect(restarted)
	env.waitAnswer(8000, "a")

	env.editConfig("[haproxy]\n", "[haproxy]\nuser = \"someone\"\n")
	expect(expectation{trigger: history.TriggerConfig, action: sdk.ActionReload, outcome: applied, says: "X-User", hasDiff: true})

	env.startInstance("late", "c", 8001)
	env.waitExcluded("late")
	env.startInstance("web", "d", 8000) // the document with both has not been tried
	expect(expectation{trigger: history.TriggerPush, detail: "127.0.0.1", action: sdk.ActionRuntime, outcome: applied,
		says: "+host-d", hasDiff: true})
	env.write("late.http", "HTTP/1.0 503 Late\r\n\r\nlate")
	if code := env.post("/api/v1/pipelines/haproxy/apply"); code != http.StatusAccepted {
		t.Errorf("apply: %d", code)
	}
	expect(expectation{trigger: history.TriggerRequest, detail: "127.0.0.1", action: sdk.ActionReload, outcome: applied,
		says: "late", hasDiff: true})

	before := map[uint64]explained{}
	for generation := range want {
		before[generation] = env.explain(strconv.FormatUint(generation, 10))
	}
	env.stop()
	env.start(args...)
	env.eventually("healthy", env.healthy)
	for i := range 50 {
		status, is := sdk.Draining, "draining"
		if i%2 == 1 {
			status, is = sdk.Alive, "alive"
		}
		newest = env.pipeline().LastChange.Generation
		env.sidecar.SetStatus(second.Hostname, second.ID, status)
		env.waitChange(newest, is, func(c history.Change) bool {
			return c.Outcome == applied && strings.Contains(strings.Join(c.Instances, ""), "host-b "+is)
		})
	}
	for generation, e := range want {
		now := env.explain(strconv.FormatUint(generation, 10))
		e.check(t, now)
		if !reflect.DeepEqual(now, before[generation]) {
			t.Errorf("change %d was\n%+v and became\n%+v", generation, before[generation], now)
		}
	}
	env.wantHistory(want)
}

// wantHistory compares the list of the command with the expected changes.
func (env *testEnv) wantHistory(want map[uint64]expectation) {
	env.t.Helper()
	var all []explained
	if err := json.Unmarshal([]byte(env.subcommandOutput("history", "--limit", "0", "--output", "json")), &all); err != nil {
		env.t.Fatal(err)
	}
	listed := map[uint64]explained{}
	for i, c := range all {
		listed[c.Generation] = c
		if i > 0 && c.Updated.Before(all[i-1].Updated) {
			env.t.Errorf("change %d is listed before %d", all[i-1].Generation, c.Generation)
		}
	}
	for generation, e := range want {
		if !e.matches(listed[generation].Change) {
			env.t.Errorf("change %d is listed as %+v, want %+v", generation, listed[generation].Change, e)
		}
	}
	var some []explained
	out := env.subcommandOutput("history", "--limit", "2", "--action", "reload,restart", "--since", "1h", "--output", "json")
	if err := json.Unmarshal([]byte(out), &some); err != nil || len(some) != 2 || !some[0].IsReload() || !some[1].IsReload() {
		env.t.Errorf("%v, filtered: %s", err, out)
	}
	out = env.subcommandOutput("history", "--action", "crashed", "--output", "json")
	if err := json.Unmarshal([]byte(out), &some); err != nil || len(some) != 1 || some[0].Event != sdk.EventCrashed {
		env.t.Errorf("%v, events: %s", err, out)
	}
	if text := env.subcommandOutput("history", "--limit", "0"); strings.Count(text, "\n") != len(all)+1 {
		env.t.Errorf("%d changes are listed as\n%s", len(all), text)
	}
}

// The triggers of a source without pushes, and the outcomes of documents that did not stay in effect, are explained, also after a
// restart of the daemon.
func TestExplain_ReplacedAndLostDocuments(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t, `template = "haproxy.tmpl"`, `reload_interval = "3s"`)
	env.write("haproxy.tmpl", explainedTemplate)
	instances := []sdk.Instance{env.startInstance("web", "a", 8000)}
	state := []string{"--set", "haproxy_api.state_dir=" + env.path("state")}
	// Pushes are denied, so that the daemon asks for the state.
	env.start(slices.Concat(state,
		[]string{"--set", `haproxy_api.allow_from=["192.0.2.1/32"]`, "--set", "sidecar.resync_interval=1s"})...)
	env.waitAnswer(8000, "a")

	want := map[uint64]expectation{}
	newest := uint64(0)
	expect := func(e expectation) {
		t.Helper()
		newest = env.waitChange(newest, fmt.Sprintf("%+v", e), e.matches)
		want[newest] = e
		e.check(t, env.explain(strconv.FormatUint(newest, 10)))
	}
	expect(expectation{trigger: history.TriggerResync, action: sdk.ActionRestart, outcome: history.OutcomeApplied,
		says: "+host-a", hasDiff: true})
	instances = append(instances, env.startInstance("web", "b", 8000))
	expect(expectation{trigger: history.TriggerResync, action: sdk.ActionRuntime, outcome: history.OutcomeApplied,
		says: "+host-b", hasDiff: true})

	env.stop()
	follow := slices.Concat(state, []string{"-F", env.sidecar.Address(), "--set", "sidecar.hold=1h"})
	env.start(follow...)
	env.eventually("healthy", env.healthy)
	env.waitGenerationApplied()
	instances = append(instances, env.startInstance("web", "c", 8000))
	expect(expectation{trigger: history.TriggerWatch, action: sdk.ActionRuntime, outcome: history.OutcomeApplied,
		says: "+host-c", hasDiff: true})

	env.sidecar.Burst(func(b *sidecartest.Batch) {
		for _, i := range instances {
			b.SetStatus(i.Hostname, i.ID, sdk.Unhealthy)
		}
	})
	env.waitPipeline("the snapshot is held", func(p server.Pipeline) bool { return p.Held != nil })
	if code := env.post("/api/v1/pipelines/haproxy/release"); code != http.StatusOK {
		t.Fatalf("release: %d", code)
	}
	expect(expectation{trigger: history.TriggerRelease, detail: "127.0.0.1", action: sdk.ActionReload,
		outcome: history.OutcomeApplied, says: "host-a unhealthy", hasDiff: true})
	env.sidecar.SetStatus(instances[0].Hostname, instances[0].ID, sdk.Alive)
	expect(expectation{trigger: history.TriggerWatch, action: sdk.ActionReload, outcome: history.OutcomeApplied,
		says: "host-a alive", hasDiff: true})

	saved := expectation{trigger: history.TriggerSave, detail: "haproxy.tmpl", hasDiff: true}
	edits := 1
	edit := func(lines string) {
		edits++
		env.write("haproxy.tmpl", strings.NewReplacer("X-Edit 1", fmt.Sprintf("X-Edit %d", edits), "global\n", "global\n"+lines).
			Replace(explainedTemplate))
	}
	superseded := saved
	superseded.outcome, superseded.says = history.OutcomeSuperseded, "reload_interval"
	env.eventually("a deferred document is superseded", func() bool {
		edit("")
		generation := env.pipeline().Last.Generation
		env.eventually("the edit has an entry", func() bool { return env.pipeline().Last.Generation > generation })
		return slices.ContainsFunc(env.changes(), superseded.matches)
	})
	expect(superseded)
	env.waitPipeline("the newest edit is applied", func(p server.Pipeline) bool { return p.InSync })

	missing := env.path("nowhere")
	edit("  chroot " + missing + "\n")
	notLoaded := saved
	notLoaded.outcome, notLoaded.says = history.OutcomeNotLoaded, missing
	expect(notLoaded)
	edit("")
	env.waitPipeline("the template is accepted", func(p server.Pipeline) bool { return p.TemplateError == "" && p.InSync })

	reloaded := env.pipeline().LastReload.Updated
	// The end of HAProxy soon after a reload would be attributed to that reload.
	env.eventually("HAProxy has run for a while", func() bool { return time.Since(reloaded) > 12*time.Second })
	line, end := env.endingHAProxy(7)
	last := env.pipeline().LastChange.Generation
	edit(line)
	env.waitChange(last, "the edit is applied", func(c history.Change) bool { return c.Outcome == history.OutcomeApplied })
	end()
	expect(expectation{trigger: history.TriggerLost, event: sdk.EventReverted, outcome: history.OutcomeLost, says: "code 7"})
	env.waitAnswer(8000, "a")

	before := map[uint64]explained{}
	for generation := range want {
		before[generation] = env.explain(strconv.FormatUint(generation, 10))
	}
	env.stop()
	env.start(follow...)
	env.eventually("healthy", env.healthy)
	for generation, e := range want {
		now := env.explain(strconv.FormatUint(generation, 10))
		e.check(t, now)
		if !reflect.DeepEqual(now, before[generation]) {
			t.Errorf("change %d was\n%+v and became\n%+v", generation, before[generation], now)
		}
	}
}
