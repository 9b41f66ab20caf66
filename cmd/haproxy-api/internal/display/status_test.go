package display

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// healthyStatus returns a status without problems.
func healthyStatus() server.Status {
	return server.Status{
		State: server.StateHealthy, Version: "1.2.0", Started: ago(27 * time.Hour), UptimeSeconds: 27 * 60 * 60,
		Config: server.Configuration{File: "/etc/haproxy-api/haproxy-api.toml", Loaded: ago(27 * time.Hour)},
		Sources: []server.Source{{
			Name: "sidecar", Type: "sidecar-push", Up: true, LastSnapshot: agoPointer(12 * time.Second), LastCause: "push",
			LastSender: "10.0.0.7", Services: 4,
			Instances: server.Instances{Alive: 12, Unhealthy: 1, Draining: 2, Tombstone: 3},
		}},
		Pipelines: []server.Pipeline{healthyPipeline()},
	}
}

func healthyPipeline() server.Pipeline {
	return server.Pipeline{
		Name: "haproxy", State: server.StateHealthy, Source: "sidecar", SourceType: "sidecar-push",
		Templates: []string{"/etc/haproxy-api/haproxy.tmpl"}, Sink: "haproxy", SinkType: "haproxy", InSync: true,
		Generation: 42, Since: agoPointer(12 * time.Minute),
		Facts: map[string]string{
			"version": "2.6.12", "pid": "4711", "haproxy_up": "1", "haproxy_restarts": "0", "mode": "managed",
		},
		LastChange: &history.Change{
			Generation: 42, Document: 42, Trigger: history.Trigger{Kind: history.TriggerPush, Detail: "10.0.0.7"},
			Outcome: history.OutcomeApplied, Action: sdk.ActionRuntime, Reason: "backend web-8080: server node-4-a1b2 added",
			Instances: []string{"web: +node-4 10.0.0.4:31180, node-2 unhealthy"}, Updated: ago(12 * time.Minute),
		},
		LastReload: &history.Change{
			Generation: 37, Document: 37,
			Trigger: history.Trigger{Kind: history.TriggerSave, Detail: "/etc/haproxy-api/haproxy.tmpl"},
			Outcome: history.OutcomeApplied, Action: sdk.ActionReload, Reason: "backend web-8080: option httpchk added",
			Updated: ago(26 * time.Hour),
		},
	}
}

// degrade adds reasons to the first pipeline, or to the daemon if it is a refused configuration.
func degrade(s *server.Status, reasons ...server.Reason) *server.Pipeline {
	p := &s.Pipelines[0]
	for _, r := range reasons {
		s.State = r.State
		if r.Kind == server.ReasonConfiguration {
			s.Reasons = append(s.Reasons, r)
			continue
		}
		p.Reasons = append(p.Reasons, r)
		p.State = r.State
	}
	return p
}

func TestShowStatus(t *testing.T) {
	const url = "http://127.0.0.1:7778"
	for name, change := range map[string]func(*server.Status){
		"healthy": func(*server.Status) {},
		"starting": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonNothing, State: server.StateDegraded,
				Message: "no configuration has been applied yet", Action: "The first snapshot of source sidecar starts it."})
			p.Since, p.Generation, p.LastChange, p.LastReload, p.Facts = nil, 0, nil, nil, nil
			s.Sources[0] = server.Source{Name: "sidecar"}
		},
		"template-refused": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonTemplate, State: server.StateUnhealthy,
				Message: `haproxy.tmpl:12:3: function "foo" not defined`, Action: "Correct line 12 of haproxy.tmpl."})
			p.InSync = false
			p.TemplateError = `haproxy.tmpl:12:3: function "foo" not defined`
			p.TemplateErrorDetail = "haproxy.tmpl:12:3: function \"foo\" not defined\n\n  12 | {{ foo }}\n     |    ^"
		},
		"held": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonHeld, State: server.StateDegraded,
				Message: "the snapshot has 2 live instances instead of 12",
				Action:  "If the registry is right, release the snapshot: POST /api/v1/pipelines/haproxy/release."})
			p.Held = &server.Held{Reason: "the snapshot has 2 live instances instead of 12", Since: ago(time.Second), Until: now}
		},
		"excluded": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonExcluded, State: server.StateDegraded,
				Message: "instance a of service web on node-1 is excluded: weight out of range; and 1 more",
				Action:  "Correct its values in the registry."})
			p.Excluded = []server.Exclusion{{Service: "web", Instance: "a", Hostname: "node-1", Reason: "weight out of range"},
				{Service: "mail", Reason: "port 25 is in use"}}
			p.ExcludedCount = len(p.Excluded)
		},
		"quarantined": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonQuarantined, State: server.StateDegraded,
				Message: "instance a of service web on node-1 is quarantined: the name has a newline",
				Action:  "Correct its values in the registry."})
			s.Sources[0].QuarantinedCount, p.QuarantinedCount = 1, 1
			p.Quarantined = []server.Quarantined{
				{Service: "web", Instance: "a", Hostname: "node-1", Reason: "the name has a newline"},
			}
		},
		"configuration-refused": func(s *server.Status) {
			degrade(s, server.Reason{Kind: server.ReasonConfiguration, State: server.StateDegraded,
				Message: "haproxy-api.toml: haproxy.pidfile is not a known key; did you mean haproxy.pid_file?",
				Action:  "Correct haproxy-api.toml and save it. haproxy-api check shows every fault."})
		},
		"source-away-and-stale": func(s *server.Status) {
			p := degrade(s,
				server.Reason{Kind: server.ReasonSource, State: server.StateDegraded,
					Message: "following http://sidecar:7777/watch: connection refused", Action: "Restore the registry."},
				server.Reason{Kind: server.ReasonStale, State: server.StateDegraded,
					Message: "the snapshot in use is from 2026-01-01T12:00:00Z, before the daemon started", Action: "Wait."})
			p.StaleSince = agoPointer(27 * time.Hour)
			s.Sources[0].Up = false
		},
		"haproxy-restarting": func(s *server.Status) {
			p := degrade(s, server.Reason{Kind: server.ReasonRestarting, State: server.StateUnhealthy,
				Message: "HAProxy is not running", Action: "It is started again by itself."},
				server.Reason{Kind: server.ReasonRestarting, State: server.StateUnhealthy,
					Message: "HAProxy did not start: it ended with exit code 1", Action: "It is started again by itself."})
			p.Facts["haproxy_up"], p.Facts["haproxy_restarts"] = "0", "3"
		},
		"deferred": func(s *server.Status) {
			p := &s.Pipelines[0]
			p.InSync = false
			p.Waiting = &server.Waiting{Reason: "reload deferred by reload_interval", Until: now.Add(3 * time.Second)}
		},
		"several-pipelines": func(s *server.Status) {
			second := healthyPipeline()
			second.Name, second.Source, second.SourceType = "inner", "file", "file"
			second.Templates = []string{"inner.tmpl", "routes.tmpl"}
			second.Sink, second.SinkType, second.Facts = "nginx-inner", "nginx", nil
			s.Pipelines = append(s.Pipelines, second)
			s.Sources = append(s.Sources, server.Source{Name: "file", Type: "file", LastSnapshot: agoPointer(time.Hour),
				Services: 1, Instances: server.Instances{Alive: 2}})
			degrade(s, server.Reason{Kind: server.ReasonNotApplied, State: server.StateUnhealthy,
				Message: "the new configuration is rejected: [haproxy.cfg:20] unknown keyword 'foo'",
				Action:  "Correct the cause."})
		},
	} {
		t.Run(name, func(t *testing.T) {
			status := healthyStatus()
			change(&status)
			wantGolden(t, "status-"+name, func(p *terminal.Page) { ShowStatus(p, NewStatus(url, status, ""), now) })
		})
	}
	t.Run("away", func(t *testing.T) {
		away := NoStatus(url, StateAway, errors.New("no daemon answers at 127.0.0.1:7778: connection refused"))
		wantGolden(t, "status-away", func(p *terminal.Page) { ShowStatus(p, away, now) })
		if !away.IsFailure() {
			t.Error("a daemon that is away is no failure")
		}
	})
}

func TestStatus_IsFailure(t *testing.T) {
	for state, failure := range map[string]bool{
		server.StateHealthy: false, server.StateDegraded: false, server.StateUnhealthy: true,
	} {
		if got := NewStatus("", server.Status{State: state}, "").IsFailure(); got != failure {
			t.Errorf("%s: %v", state, got)
		}
	}
}

func TestStatus_SameAs(t *testing.T) {
	first := NewStatus("", healthyStatus(), "")
	later := healthyStatus()
	later.UptimeSeconds++
	if !NewStatus("", later, "").SameAs(first) {
		t.Error("a longer uptime is a change")
	}
	later.Pipelines[0].Generation++
	if NewStatus("", later, "").SameAs(first) {
		t.Error("another generation is no change")
	}
	if NoStatus("", StateAway, errors.New("away")).SameAs(first) {
		t.Error("a daemon that is away is no change")
	}
}

func TestShortened(t *testing.T) {
	long := strings.Repeat("ä", maxReason)
	if got := shortened(long); got != long {
		t.Errorf("a reason of %d characters became %q", maxReason, got)
	}
	if got := shortened(long + "b"); got != long[:len(long)-len("ä")]+"…" {
		t.Errorf("a longer reason became %q", got)
	}
}
