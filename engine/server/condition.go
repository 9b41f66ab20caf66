package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
)

// The states of the daemon and of a pipeline, from the best to the worst.
const (
	StateHealthy   = "healthy"
	StateDegraded  = "degraded"  // the proxy serves, but not everything that it should, or not the newest
	StateUnhealthy = "unhealthy" // the proxy has a problem, or what was saved or received cannot be applied
)

// A Reason says why something is not healthy.
type Reason struct {
	Kind    string `json:"kind"`    // one of the Reason constants
	State   string `json:"state"`   // how bad it is: StateDegraded or StateUnhealthy
	Message string `json:"message"` // what is wrong
	Action  string `json:"action"`  // what to do about it, in one or two sentences
}

// The kinds of reasons.
const (
	ReasonSink          = "sink"          // the sink reports a problem, or does not answer
	ReasonRestarting    = "restarting"    // the program of the sink is not running; the sink starts it again
	ReasonNotApplied    = "not_applied"   // the newest document could not be applied
	ReasonWatchedFiles  = "watched_files" // changed files beside the document could not be loaded
	ReasonTemplate      = "template"      // the saved template is not used
	ReasonNothing       = "nothing_applied"
	ReasonSource        = "source"        // the source reports a problem
	ReasonStale         = "stale"         // the snapshot in use is of an earlier run
	ReasonHeld          = "held"          // the newest snapshot is not used yet
	ReasonExcluded      = "excluded"      // the document lacks services or instances
	ReasonQuarantined   = "quarantined"   // instances with unsafe values are not used
	ReasonConfiguration = "configuration" // the saved configuration is not used
)

// pipelineState returns the state of a pipeline and the reasons for it, the worst first. A document that the sink defers is none.
func pipelineState(p engine.PipelineHealth, source engine.SourceStatus) (string, []Reason) {
	reasons := []Reason{}
	add := func(kind, state, message, action string) {
		reasons = append(reasons, Reason{Kind: kind, State: state, Message: message, Action: action})
	}
	apply := fmt.Sprintf("POST /api/v1/pipelines/%s/apply", p.Name)
	if len(p.SinkProblems) > 0 {
		message := strings.Join(p.SinkProblems, "; ")
		if p.Facts["haproxy_up"] == "0" {
			add(ReasonRestarting, StateUnhealthy, message,
				"It is started again by itself. If it does not stay up, look for the cause in the log, and correct the template or the machine.")
		} else {
			add(ReasonSink, StateUnhealthy, message, "Remove the cause; the log has more. It is over as soon as the sink reports no problem.")
		}
	}
	if p.ApplyError != nil {
		add(ReasonNotApplied, StateUnhealthy, p.ApplyError.Error(), "The previous configuration stays in effect. Correct the "+
			"cause; it is tried again by itself, and at once with "+apply+".")
	}
	if p.InputsError != nil {
		add(ReasonWatchedFiles, StateUnhealthy, p.InputsError.Error(), "Correct the files and save them; what was loaded before "+
			"stays in use until then.")
	}
	if p.TemplateError != nil {
		add(ReasonTemplate, StateUnhealthy, p.TemplateError.Error(), templateAction(p))
	}
	if p.Generation == 0 && len(reasons) == 0 {
		add(ReasonNothing, StateDegraded, "no configuration has been applied yet", nothingAction(source))
	}
	for _, problem := range source.Problems {
		add(ReasonSource, StateDegraded, problem, fmt.Sprintf(
			"Restore the registry or the connection to it: the last snapshot of source %s stays in use until then.", p.Source))
	}
	if !p.StaleSince.IsZero() {
		add(ReasonStale, StateDegraded, fmt.Sprintf("the snapshot in use is from %s, before the daemon started",
			p.StaleSince.UTC().Format(time.RFC3339)),
			fmt.Sprintf("It ends with the next snapshot of source %s. If none comes, check that the registry reaches the daemon.", p.Source))
	}
	if p.Held != nil {
		add(ReasonHeld, StateDegraded, p.Held.Reason, fmt.Sprintf("If the registry is right, release the snapshot: POST "+
			"/api/v1/pipelines/%s/release. Otherwise correct the registry before %s, when it is released by itself.",
			p.Name, p.Held.Until.UTC().Format(time.RFC3339)))
	}
	if n := len(p.Excluded); n > 0 {
		e := p.Excluded[0]
		message := "service " + e.Service + " is excluded: " + e.Reason
		if !e.WholeService() {
			message = fmt.Sprintf("instance %s of service %s on %s is excluded: %s", e.ID, e.Service, e.Hostname, e.Reason)
		}
		add(ReasonExcluded, StateDegraded, message+andMore(n-1), "Correct its values in the registry, or the template: it is "+
			"included again by itself. "+apply+" tries at once.")
	}
	if n := len(p.Quarantined); n > 0 {
		q := p.Quarantined[0]
		message := "the catalogue: " + q.Reason
		switch {
		case q.ID != "" || q.Hostname != "":
			message = fmt.Sprintf("instance %s of service %s on %s is quarantined: %s", q.ID, q.Service, q.Hostname, q.Reason)
		case q.Service != "":
			message = "service " + q.Service + " is quarantined: " + q.Reason
		}
		add(ReasonQuarantined, StateDegraded, message+andMore(n-1),
			"Correct its values in the registry: it is used with the next snapshot that has valid ones.")
	}
	return worst(reasons), reasons
}

func templateAction(p engine.PipelineHealth) string {
	const rest = " It is loaded as soon as it is saved, and the last good template stays in use until then."
	at, ok := engine.PositionOf(p.TemplateError)
	switch {
	case ok && at.Line > 0:
		return fmt.Sprintf("Correct line %d of %s.", at.Line, at.File) + rest
	case ok:
		return "Correct " + at.File + "." + rest
	}
	return "Correct the template." + rest
}

func nothingAction(source engine.SourceStatus) string {
	if source.LastSnapshot.IsZero() {
		return fmt.Sprintf("The first snapshot of source %s starts it. If none comes, check that the registry reaches the daemon.",
			source.Name)
	}
	return "It takes a moment. If it stays so, the log has the cause."
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}

// daemonState returns the state of the daemon with these pipelines, and the reasons that belong to no pipeline.
func daemonState(config Configuration, pipelines []Pipeline) (string, []Reason) {
	reasons := []Reason{}
	if config.Error != "" {
		reasons = append(reasons, Reason{
			Kind: ReasonConfiguration, State: StateDegraded, Message: config.Error,
			Action: "Correct " + orConfiguration(config.File) + " and save it: it is loaded at once, and the previous " +
				"configuration stays in use until then. haproxy-api check shows every fault.",
		})
	}
	state := worst(reasons)
	for _, p := range pipelines {
		state = worse(state, p.State)
	}
	return state, reasons
}

func orConfiguration(file string) string {
	if file == "" {
		return "the configuration"
	}
	return file
}

// worst returns the worst state of the reasons.
func worst(reasons []Reason) string {
	state := StateHealthy
	for _, r := range reasons {
		state = worse(state, r.State)
	}
	return state
}

func worse(a, b string) string {
	if a == StateUnhealthy || b == StateUnhealthy {
		return StateUnhealthy
	}
	if a == StateDegraded || b == StateDegraded {
		return StateDegraded
	}
	return StateHealthy
}
