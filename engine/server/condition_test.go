package server

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Each fault has its state, its kind and an action that names what to do it with.
func TestPipelineState_Reasons(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type status = engine.PipelineStatus
	for name, test := range map[string]struct {
		status   status
		problems []string // of the sink
		facts    map[string]string
		source   []string // problems of the source
		crashes  int
		want     string // the state
		kinds    string
		action   string // is in the first action
	}{
		"all is well": {status: status{Generation: 1}, want: StateHealthy},
		"a deferred document is well": {
			status: status{Generation: 1, Pending: &engine.Pending{Reason: "r"}}, want: StateHealthy,
		},
		"dropped values are well": {status: status{Generation: 1, Dropped: []engine.Quarantined{{}}}, want: StateHealthy},
		"the sink has two problems": {
			status: status{Generation: 1}, problems: []string{"a", "b"}, want: StateUnhealthy, kinds: "sink sink",
			action: "log",
		},
		"HAProxy restarts": {
			status: status{Generation: 1}, problems: []string{"a"}, facts: map[string]string{"haproxy_up": "0"},
			want: StateUnhealthy, kinds: "restarting", action: "history",
		},
		"HAProxy runs with a problem": {
			status: status{Generation: 1}, problems: []string{"a"}, facts: map[string]string{"haproxy_up": "1"},
			want: StateUnhealthy, kinds: "sink", action: "log",
		},
		"HAProxy crashed once": {status: status{Generation: 1}, crashes: 1, want: StateHealthy},
		"HAProxy crashed several times": {
			status: status{Generation: 1}, crashes: 3, want: StateDegraded, kinds: "restarting", action: "history",
		},
		"HAProxy has been crashing for hours": {
			status: status{Generation: 1}, facts: map[string]string{"haproxy_up": "1", "restarting": "yes"},
			want: StateDegraded, kinds: "restarting", action: "history",
		},
		"HAProxy crashed and is down": {
			status: status{Generation: 1}, crashes: 3, problems: []string{"a"}, facts: map[string]string{"haproxy_up": "0"},
			want: StateUnhealthy, kinds: "restarting", action: "history",
		},
		"a document is not applied": {
			status: status{Generation: 1, ApplyError: errors.New("x")}, want: StateUnhealthy, kinds: "not_applied",
			action: "POST /api/v1/pipelines/p%2F1/apply",
		},
		"a document is rejected": {
			status: status{Generation: 1, ApplyError: sdk.ErrRejected}, want: StateUnhealthy, kinds: "not_applied",
			action: "the template",
		},
		"a document cannot be written": {
			status: status{Generation: 1, ApplyError: syscall.ENOSPC}, want: StateUnhealthy, kinds: "not_applied",
			action: "Remove the cause",
		},
		"watched files are not loaded": {
			status: status{Generation: 1, InputsError: errors.New("x")}, want: StateUnhealthy, kinds: "watched_files",
			action: "save",
		},
		"the template is refused": {
			status: status{Generation: 1, TemplateError: detailedError{}}, want: StateUnhealthy, kinds: "template",
			action: "line 1 of a.cfg",
		},
		"the template is somehow wrong": {
			status: status{Generation: 1, TemplateError: errors.New("x")}, want: StateUnhealthy, kinds: "template",
			action: "the template",
		},
		"the template is rejected for now": {
			status: status{Generation: 1, TemplateError: &engine.CandidateFailedError{Err: sdk.ErrRejected}},
			want:   StateUnhealthy, kinds: "template", action: "the template",
		},
		"the document of the saved template cannot be written": {
			status: status{Generation: 1, TemplateError: &engine.CandidateFailedError{Err: syscall.ENOSPC}},
			want:   StateUnhealthy, kinds: "not_applied", action: "POST /api/v1/pipelines/p%2F1/apply",
		},
		"nothing is applied yet": {status: status{}, want: StateDegraded, kinds: "nothing_applied", action: "source s"},
		"HAProxy waits for the first document": {
			status: status{}, problems: []string{"a", "b"}, facts: map[string]string{"haproxy_up": "0"},
			want: StateUnhealthy, kinds: "nothing_applied nothing_applied", action: "source s",
		},
		"HAProxy does not run with the first document": {
			status: status{ApplyError: errors.New("x")}, problems: []string{"a"}, facts: map[string]string{"haproxy_up": "0"},
			want: StateUnhealthy, kinds: "nothing_applied not_applied", action: "first document",
		},
		"HAProxy's program is missing and HAProxy ended": {
			status: status{Generation: 1}, problems: []string{"a"},
			facts: map[string]string{"haproxy_up": "0", "haproxy_binary": "cannot be run"},
			want:  StateUnhealthy, kinds: "restarting", action: "Install HAProxy",
		},
		"HAProxy's program is missing and HAProxy runs": {
			status: status{Generation: 1, ApplyError: errors.New("x")},
			facts:  map[string]string{"haproxy_up": "1", "haproxy_binary": "cannot be run"},
			want:   StateUnhealthy, kinds: "not_applied", action: "Install HAProxy",
		},
		"the template cannot be read": {
			status: status{Generation: 1, TemplateError: fmt.Errorf("x: %w", syscall.EACCES)}, want: StateUnhealthy,
			kinds: "template", action: "readable",
		},
		"the document of the template is not loaded": {
			status: status{Generation: 1, TemplateError: sdk.NotLoaded(errors.New("x"))}, want: StateUnhealthy,
			kinds: "template", action: "what else the message names",
		},
		"the first snapshot does not come because of a problem": {
			source: []string{"a"}, want: StateDegraded, kinds: "nothing_applied source", action: "problem of the source",
		},
		"nothing can be applied": {
			status: status{ApplyError: errors.New("x")}, want: StateUnhealthy, kinds: "not_applied", action: "/apply",
		},
		"the registry is away": {
			status: status{Generation: 1}, source: []string{"a", "b"}, want: StateDegraded, kinds: "source source",
			action: "source s",
		},
		"the snapshot is stale": {
			status: status{Generation: 1, StaleSince: day}, want: StateDegraded, kinds: "stale", action: "source s",
		},
		"a snapshot is held": {
			status: status{Generation: 1, Held: &engine.Held{Until: day}}, want: StateDegraded, kinds: "held",
			action: "POST /api/v1/pipelines/p%2F1/release",
		},
		"an instance is excluded": {
			status: status{Generation: 1, Excluded: []exclude.Exclusion{{Service: "web"}, {}}}, want: StateDegraded,
			kinds: "excluded", action: "/apply",
		},
		"an instance is quarantined": {
			status: status{Generation: 1, Quarantined: []engine.Quarantined{{}, {}}}, want: StateDegraded, kinds: "quarantined",
			action: "registry",
		},
		"the worst comes first": {
			status: status{
				Generation: 1, TemplateError: errors.New("x"), Held: &engine.Held{}, Quarantined: []engine.Quarantined{{}},
			},
			problems: []string{"a"}, source: []string{"a"},
			want: StateUnhealthy, kinds: "sink template source held quarantined",
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.status.Name, test.status.Source = "p/1", "s"
			health := engine.PipelineHealth{
				PipelineStatus: test.status, Health: sdk.Health{Problems: test.problems, Facts: test.facts},
				SinkProblems: test.problems, Crashes: test.crashes, LastCrash: "it logged no reason",
			}
			state, reasons := pipelineState(health, engine.SourceStatus{Health: sdk.Health{Problems: test.source}})
			kinds := ""
			for _, r := range reasons {
				kinds += " " + r.Kind
				if r.Message == "" || !strings.HasSuffix(r.Action, ".") || worse(state, r.State) != state {
					t.Errorf("incomplete: %+v", r)
				}
			}
			if state != test.want || strings.TrimSpace(kinds) != test.kinds {
				t.Fatalf("got %s because of%s, want %s because of %s", state, kinds, test.want, test.kinds)
			}
			if len(reasons) > 0 && !strings.Contains(reasons[0].Action, test.action) {
				t.Errorf("the action %q lacks %q", reasons[0].Action, test.action)
			}
		})
	}
}

func TestDaemonState_IsTheWorst(t *testing.T) {
	healthy, degraded, unhealthy := Pipeline{State: StateHealthy}, Pipeline{State: StateDegraded}, Pipeline{State: StateUnhealthy}
	for _, test := range []struct {
		config    string // its error
		pipelines []Pipeline
		want      string
		reasons   int
	}{
		{"", nil, StateHealthy, 0},
		{"", []Pipeline{healthy, healthy}, StateHealthy, 0},
		{"", []Pipeline{healthy, degraded}, StateDegraded, 0},
		{"", []Pipeline{unhealthy, degraded}, StateUnhealthy, 0},
		{"no such key", []Pipeline{healthy}, StateDegraded, 1},
		{"no such key", []Pipeline{unhealthy}, StateUnhealthy, 1},
	} {
		state, reasons := daemonState(Configuration{File: "/etc/a.toml", Error: test.config}, "", test.pipelines)
		if state != test.want || len(reasons) != test.reasons {
			t.Errorf("%+v: got %s, %+v", test, state, reasons)
		}
		if test.reasons > 0 && (reasons[0].Kind != ReasonConfiguration || !strings.Contains(reasons[0].Action, "/etc/a.toml")) {
			t.Errorf("got %+v", reasons[0])
		}
	}
	state, reasons := daemonState(Configuration{}, "disk full", []Pipeline{healthy})
	if state != StateDegraded || len(reasons) != 1 || reasons[0].Kind != ReasonStateStore ||
		!strings.Contains(reasons[0].Message, "disk full") {
		t.Errorf("state store: got %s, %+v", state, reasons)
	}
}

func TestSourceReasons_WithoutASnapshot(t *testing.T) {
	health := engine.PipelineHealth{PipelineStatus: engine.PipelineStatus{Name: "haproxy", Source: "sidecar"}}
	source := engine.SourceStatus{Health: sdk.Health{Problems: []string{"cannot reach http://localhost:7777/state.json"}}}
	const kept = "The last snapshot stays in use"
	if got := sourceReasons(health, source); len(got) != 1 || strings.Contains(got[0].Action, kept) {
		t.Errorf("without a snapshot: %+v", got)
	}
	source.Instances = map[string]int{}
	if got := sourceReasons(health, source); len(got) != 1 || !strings.Contains(got[0].Action, kept) {
		t.Errorf("with a snapshot: %+v", got)
	}
}

func TestDaemonState_NamesTheFileToCheck(t *testing.T) {
	_, reasons := daemonState(Configuration{File: "/etc/haproxy-api/haproxy-api.toml", Error: "refused"}, "", nil)
	if len(reasons) != 1 || !strings.Contains(reasons[0].Action, "haproxy-api check -f /etc/haproxy-api/haproxy-api.toml") {
		t.Errorf("reasons: %+v", reasons)
	}
}

// The previous configuration stays in effect only if there is one, and if HAProxy runs.
func TestPipelineState_PreviousConfiguration(t *testing.T) {
	const stays = "The previous configuration stays in effect."
	for name, test := range map[string]struct {
		generation uint64
		up         string
		want       bool
	}{
		"HAProxy runs": {1, "1", true}, "another sink": {1, "", true}, "HAProxy does not run": {1, "0", false},
		"nothing is applied yet": {0, "0", false},
	} {
		_, reasons := pipelineState(engine.PipelineHealth{
			PipelineStatus: engine.PipelineStatus{Generation: test.generation, ApplyError: errors.New("x")},
			Health:         sdk.Health{Facts: map[string]string{"haproxy_up": test.up}},
		}, engine.SourceStatus{})
		if last := reasons[len(reasons)-1]; last.Kind != ReasonNotApplied || strings.Contains(last.Action, stays) != test.want {
			t.Errorf("%s: %+v", name, last)
		}
	}
}
