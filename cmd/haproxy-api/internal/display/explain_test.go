package display

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const diffOfWeb = `--- haproxy.cfg	generation 41
+++ haproxy.cfg	generation 42
@@ -10,4 +10,5 @@
 backend web-8080
-	balance roundrobin
+	balance leastconn
+	option httpchk
 	server node-1-a1b2 10.0.0.1:31180 check
`

// reload is a change that was applied with a reload.
func reload() Change {
	return Change{
		Pipeline: "haproxy",
		Change: history.Change{
			Generation: 42, Document: 42,
			Trigger: history.Trigger{Kind: history.TriggerSave, Detail: "/etc/haproxy-api/haproxy.tmpl"},
			Outcome: history.OutcomeApplied, Action: sdk.ActionReload, Reason: "backend web-8080: option httpchk added",
			Received: ago(12 * time.Minute), Updated: ago(12*time.Minute - 412*time.Millisecond), Attempts: 1, Seconds: 0.412,
			LinesAdded: 2, LinesRemoved: 1,
			Steps: []history.Step{
				{Name: "wait", Seconds: 0.002}, {Name: "render", Start: 0.002, Seconds: 0.011},
				{Name: "check", Start: 0.013, Seconds: 0.1}, {Name: "reload", Start: 0.113, Seconds: 0.299},
			},
		},
		Diff: diffOfWeb,
	}
}

// event is something that the sink reported.
func event(kind, action, reason string) Change {
	return Change{Pipeline: "haproxy", Change: history.Change{
		Generation: 43, Document: 42, Trigger: history.Trigger{Kind: history.TriggerSink}, Event: kind,
		Outcome: history.OutcomeEvent, Action: action, Reason: reason, Received: ago(time.Minute), Updated: ago(time.Minute),
	}}
}

func manyCommands(n int) (commands []history.Command) {
	for i := range n {
		commands = append(commands, history.Command{Sent: fmt.Sprintf("add server web-8080/node-%d 10.0.0.%d:31180 check", i, i),
			Answer: "New server registered."})
	}
	return commands
}

func TestExplain(t *testing.T) {
	for name, change := range map[string]func() Change{
		"reload": reload,
		"runtime": func() Change {
			c := reload()
			c.Trigger = history.Trigger{Kind: history.TriggerPush, Detail: "10.0.0.7"}
			c.Action, c.Reason = sdk.ActionRuntime, "backend web-8080: server node-4-a1b2 added"
			c.Instances, c.InstancesMore = []string{"web: +node-4 10.0.0.4:31180, node-2 unhealthy", "chat: -node-9"}, 3
			c.Commands, c.CommandsMore = manyCommands(10), 2
			return c
		},
		"restart": func() Change {
			c := reload()
			c.Trigger = history.Trigger{Kind: history.TriggerStart}
			c.Action, c.Reason = sdk.ActionRestart, "HAProxy was not running"
			c.Diff, c.LinesAdded, c.LinesRemoved = "", 0, 0
			return c
		},
		"written": func() Change {
			c := reload()
			c.Action, c.Reason, c.Details = sdk.ActionWritten, "only comments changed", []string{"a warning\nin two lines"}
			c.Diff, c.DiffDropped, c.Steps = "", true, nil
			return c
		},
		"other": func() Change {
			c := reload()
			c.Action, c.DiffTruncated = sdk.ActionOther, true
			return c
		},
		"unchanged": func() Change {
			c := reload()
			c.Trigger = history.Trigger{Kind: history.TriggerRequest, Detail: "127.0.0.1"}
			c.Action, c.Reason, c.Generation, c.Diff = sdk.ActionUnchanged, "it is in effect already", 43, ""
			c.LinesAdded, c.LinesRemoved = 0, 0
			return c
		},
		"newest-of-unhealthy": func() Change {
			c := reload()
			c.Now = []server.Reason{
				{Kind: server.ReasonTemplate, State: server.StateUnhealthy},
				{Kind: server.ReasonHeld, State: server.StateDegraded},
			}
			return c
		},
		"deferred": func() Change {
			c := reload()
			c.Outcome, c.Action, c.Error = history.OutcomeDeferred, "", "reload deferred by reload_interval"
			return c
		},
		"rejected": func() Change {
			c := reload()
			c.Outcome, c.Action, c.Reason = history.OutcomeRejected, "", ""
			c.Error = "the new configuration is rejected: [haproxy.cfg:12] unknown keyword 'foo'"
			return c
		},
		"superseded": func() Change {
			c := reload()
			c.Outcome, c.Action, c.Reason = history.OutcomeSuperseded, "", ""
			c.Error = "reload deferred by reload_interval"
			return c
		},
		"rejected-files": func() Change {
			c := reload()
			c.Trigger = history.Trigger{Kind: history.TriggerInputs, Detail: "/etc/haproxy/site.pem"}
			c.Outcome, c.Action, c.Reason, c.Diff, c.LinesAdded, c.LinesRemoved = history.OutcomeRejected, "", "", "", 0, 0
			c.Error = "unable to load certificate from file '/etc/haproxy/site.pem'"
			return c
		},
		"failed": func() Change {
			c := reload()
			c.Outcome, c.Attempts, c.Error = history.OutcomeFailed, 3, "cannot write haproxy.cfg: no space left on device"
			return c
		},
		"not-loaded": func() Change {
			c := reload()
			c.Outcome, c.Error = history.OutcomeNotLoaded, "the new worker ended with exit code 1"
			return c
		},
		"excluded": func() Change {
			c := reload()
			c.Excluded, c.Notes = []string{"web/a on node-1: weight out of range"}, []string{"port 80 is taken"}
			return c
		},
		"crashed": func() Change {
			c := event(sdk.EventCrashed, "", "HAProxy ended with signal 11")
			c.Details = []string{"[ALERT] (4711) : Current worker (4712) exited with code 139"}
			return c
		},
		"drift-repaired": func() Change {
			return event(sdk.EventDriftRepaired, sdk.ActionRuntime, "server web-8080/node-1: the weight was 5 instead of 10")
		},
		"foreign-reload": func() Change { return event(sdk.EventForeignReload, "", "process 815 reloaded HAProxy") },
	} {
		t.Run(name, func(t *testing.T) {
			wantGolden(t, "explain-"+name, func(p *terminal.Page) { Explain(p, change(), false, now) })
		})
	}
}

// Every trigger is explained in words.
func TestExplain_Triggers(t *testing.T) {
	wantGolden(t, "triggers", func(p *terminal.Page) {
		for _, kind := range []string{
			history.TriggerPush, history.TriggerWatch, history.TriggerResync, history.TriggerSource,
			history.TriggerRelease, history.TriggerSave, history.TriggerConfig, history.TriggerRequest,
			history.TriggerStart, history.TriggerRestart, history.TriggerLost, history.TriggerInputs, history.TriggerReread,
			history.TriggerRetry, history.TriggerSink, "unknown",
		} {
			p.Line(triggerOf(history.Trigger{Kind: kind, Detail: "DETAIL"}))
			p.Line(triggerOf(history.Trigger{Kind: kind}))
		}
	})
}

func TestExplain_FullShowsEverything(t *testing.T) {
	c := reload()
	c.Commands = manyCommands(50)
	c.Diff = strings.Repeat("+line\n", 100)
	for full, want := range map[bool]int{true: 50, false: shownCommands} {
		page := terminal.NewPlainPage(80)
		Explain(page, c, full, now)
		if got := strings.Count(page.String(), "> add server"); got != want {
			t.Errorf("full %v: %d commands, want %d", full, got, want)
		}
		if lines := strings.Count(page.String(), "+line"); full != (lines == 100) {
			t.Errorf("full %v: %d lines of the diff", full, lines)
		}
	}
}

func TestHistory(t *testing.T) {
	first := reload()
	runtime := reload()
	runtime.Generation, runtime.Action, runtime.Trigger.Kind = 43, sdk.ActionRuntime, history.TriggerPush
	runtime.Instances = []string{"web: +node-4 10.0.0.4:31180", "chat: -node-9"}
	rejected := reload()
	rejected.Generation, rejected.Action, rejected.Outcome = 44, "", history.OutcomeRejected
	rejected.Error = "the new configuration is rejected: [haproxy.cfg:12] unknown keyword 'foo' in 'backend' section"
	crashed := event(sdk.EventCrashed, "", "HAProxy ended with signal 11")
	crashed.Generation = 45
	runtime.Updated, rejected.Updated = ago(8*time.Minute), ago(3*time.Minute)
	wantGolden(t, "history", func(p *terminal.Page) { History(p, []Change{first, runtime, rejected, crashed}, now) })

	first.Updated, crashed.Pipeline = ago(26*time.Hour), "inner"
	wantGolden(t, "history-several-pipelines", func(p *terminal.Page) { History(p, []Change{first, runtime, crashed}, now) })
}
