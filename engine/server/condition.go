package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
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
	ReasonSink          = "sink"            // the sink reports a problem, or does not answer
	ReasonRestarting    = "restarting"      // HAProxy is not running, or ended several times; it is started again
	ReasonNotApplied    = "not_applied"     // the newest document could not be applied
	ReasonWatchedFiles  = "watched_files"   // changed files beside the document could not be loaded
	ReasonTemplate      = "template"        // the saved template is not used
	ReasonNothing       = "nothing_applied" // no document has been applied yet
	ReasonSource        = "source"          // the source reports a problem
	ReasonStale         = "stale"           // the snapshot in use is of an earlier run
	ReasonHeld          = "held"            // the newest snapshot is not used yet
	ReasonExcluded      = "excluded"        // the document lacks services or instances
	ReasonQuarantined   = "quarantined"     // instances with unsafe values are not used
	ReasonConfiguration = "configuration"   // the saved configuration is not used
	ReasonStateStore    = "state_store"     // the state directory cannot be written
)

// pipelineState returns the state of a pipeline and the reasons for it, the worst first. Deferring a document is no reason.
func pipelineState(p engine.PipelineHealth, source engine.SourceStatus) (string, []Reason) {
	reasons := append(sinkReasons(p, source), applyReasons(p)...)
	if p.Generation == 0 && len(reasons) == 0 {
		reasons = append(reasons, degraded(ReasonNothing, "no configuration has been applied yet", nothingAction(p, source)))
	}
	reasons = append(reasons, sourceReasons(p, source)...)
	reasons = append(reasons, instanceReasons(p)...)
	return worst(reasons), reasons
}

func unhealthy(kind, message, action string) Reason {
	return Reason{Kind: kind, State: StateUnhealthy, Message: message, Action: action}
}

func degraded(kind, message, action string) Reason {
	return Reason{Kind: kind, State: StateDegraded, Message: message, Action: action}
}

// sinkReasons are the problems that the sink reports, and that its program ended several times. The sink of HAProxy says in a
// fact whether HAProxy runs.
func sinkReasons(p engine.PipelineHealth, source engine.SourceStatus) []Reason {
	kind, action := ReasonSink, "Remove the cause: the log of the daemon and that of the program have the details."
	const restarted = "HAProxy is started again by itself. Its last messages, here or in the history and the log, say what to " +
		"correct."
	switch {
	case p.Facts["haproxy_up"] != "0":
	case p.Generation == 0 && p.Crashes == 0: // the first document starts it
		kind, action = ReasonNothing, nothingAction(p, source)
	case lacksBinary(p):
		kind, action = ReasonRestarting, repairBinary+" HAProxy is then started by itself."
	default:
		kind, action = ReasonRestarting, restarted
	}
	reasons := []Reason{}
	for _, problem := range p.SinkProblems {
		reasons = append(reasons, unhealthy(kind, problem, action))
	}
	switch {
	case kind == ReasonRestarting:
	case p.Crashes > 1:
		message := fmt.Sprintf("HAProxy ended by itself %d times within %d minutes, the last time: %s", p.Crashes,
			int(engine.CrashWindow.Minutes()), p.LastCrash)
		reasons = append(reasons, degraded(ReasonRestarting, message, restarted))
	case p.Facts["restarting"] == "yes": // for so long that the sink does not report each end as an event
		reasons = append(reasons, degraded(ReasonRestarting, "HAProxy was started several times within a short time", restarted))
	}
	return reasons
}

// applyReasons say why the newest document, the files beside it or the saved template are not in use.
func applyReasons(p engine.PipelineHealth) []Reason {
	var reasons []Reason
	if p.ApplyError != nil {
		action := "Remove the cause that the message names."
		switch {
		case lacksBinary(p):
			action = repairBinary
		case isAboutDocument(p.ApplyError):
			action = "Correct what the message names, for example the template or the values in the registry."
		}
		if p.Generation > 0 && p.Facts["haproxy_up"] != "0" {
			action += " The previous configuration stays in effect."
		}
		action += " The newest document is tried again by itself where that can help, and at once with POST " + pipelinePath(p) +
			"/apply."
		reasons = append(reasons, unhealthy(ReasonNotApplied, p.ApplyError.Error(), action))
	}
	if p.InputsError != nil {
		reasons = append(reasons, unhealthy(ReasonWatchedFiles, p.InputsError.Error(),
			"Correct the files and save them. What was loaded before stays in use until then."))
	}
	_, retried := errors.AsType[*engine.CandidateFailedError](p.TemplateError)
	switch {
	case p.TemplateError == nil:
	case retried && !exclude.IsRejected(p.TemplateError): // the template is not at fault
		reasons = append(reasons, unhealthy(ReasonNotApplied, "the saved template could not be applied: "+p.TemplateError.Error(),
			"Remove the cause that the message names. The last good template stays in use until then. The saved one is tried "+
				"again by itself, and at once with POST "+pipelinePath(p)+"/apply."))
	default:
		reasons = append(reasons, unhealthy(ReasonTemplate, p.TemplateError.Error(), templateAction(p)))
	}
	return reasons
}

// repairBinary is what to do if HAProxy's program cannot be run.
const repairBinary = "Install HAProxy, make its program executable, or correct the path in the key binary of the sink."

// lacksBinary reports whether the sink of HAProxy cannot run its program. The HAProxy that runs goes on.
func lacksBinary(p engine.PipelineHealth) bool { return p.Facts["haproxy_binary"] != "" }

// isAboutDocument reports whether the document, or rendering it, is at fault, and not something like a full disk.
func isAboutDocument(err error) bool {
	_, template := errors.AsType[*engine.TemplateError](err)
	return template || exclude.IsRejected(err) || errors.Is(err, sdk.ErrNotLoaded)
}

// sourceReasons say why the snapshot in use may not be the registry's state.
func sourceReasons(p engine.PipelineHealth, source engine.SourceStatus) []Reason {
	var reasons []Reason
	action := "Restore the registry, or the file, or the connection to it, or correct its address in the configuration of the " +
		"source " + p.Source + "."
	if source.Instances != nil {
		action += " The last snapshot stays in use until then."
	}
	for _, problem := range source.Problems {
		reasons = append(reasons, degraded(ReasonSource, problem, action))
	}
	if !p.StaleSince.IsZero() {
		reasons = append(reasons, degraded(ReasonStale,
			"the snapshot in use is from "+utc(p.StaleSince)+", before the daemon started",
			fmt.Sprintf("The next snapshot of the source %s ends it. If none comes, "+checkRegistry, p.Source)))
	}
	if p.Held != nil {
		reasons = append(reasons, degraded(ReasonHeld, "the newest snapshot is held: "+p.Held.Reason, fmt.Sprintf(
			"If the registry is right, release the snapshot: POST %s/release. If not, correct the registry before %s: then the "+
				"snapshot is released by itself.", pipelinePath(p), utc(p.Held.Until))))
	}
	return reasons
}

// instanceReasons name an instance that is not in the document, and say how many more there are.
func instanceReasons(p engine.PipelineHealth) []Reason {
	var reasons []Reason
	if n := len(p.Excluded); n > 0 {
		e := p.Excluded[0]
		reasons = append(reasons, degraded(ReasonExcluded, nameInstance(e.Service, e.ID, e.Hostname)+" is excluded: "+e.Reason+
			andMore(n-1), "Correct the values in the registry, or the template: it is included again by itself. To try at once: "+
			"POST "+pipelinePath(p)+"/apply."))
	}
	if n := len(p.Quarantined); n > 0 {
		q := p.Quarantined[0]
		reasons = append(reasons, degraded(ReasonQuarantined, nameInstance(q.Service, q.ID, q.Hostname)+" is quarantined: "+
			q.Reason+andMore(n-1), "Correct the values in the registry: the next snapshot with valid ones ends it."))
	}
	return reasons
}

func pipelinePath(p engine.PipelineHealth) string {
	return "/api/v1/pipelines/" + url.PathEscape(p.Name)
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// nameInstance names an instance, a service as a whole, or the catalogue.
func nameInstance(service, id, hostname string) string {
	switch {
	case id != "" || hostname != "":
		return fmt.Sprintf("instance %s of service %s on %s", id, service, hostname)
	case service != "":
		return "service " + service
	}
	return "the name of the cluster"
}

func templateAction(p engine.PipelineHealth) string {
	if _, unreadable := errors.AsType[syscall.Errno](p.TemplateError); unreadable {
		return "Restore the file or make it readable: it is tried at once. The last good template stays in use until then."
	}
	what := "the template"
	if at, ok := engine.PositionOf(p.TemplateError); ok {
		what = at.File
		if at.Line > 0 {
			what = fmt.Sprintf("line %d of %s", at.Line, at.File)
		}
	}
	if errors.Is(p.TemplateError, sdk.ErrNotLoaded) {
		what += ", or what else the message names,"
	}
	return "Correct " + what + " and save it: it is tried at once. The last good template stays in use until then."
}

// checkRegistry says what to do if no snapshot comes.
const checkRegistry = "check that the registry pushes to this daemon (Sidecar: to /update), or set the address of the registry " +
	"in the configuration of the source (Sidecar: follow)."

func nothingAction(p engine.PipelineHealth, source engine.SourceStatus) string {
	switch {
	case p.ApplyError != nil:
		return "The first document that can be applied starts it: see why the newest one cannot."
	case source.LastSnapshot.IsZero() && len(source.Problems) > 0:
		return "The first snapshot of the source " + p.Source + " starts it: see the problem of the source."
	case source.LastSnapshot.IsZero():
		return "The first snapshot of the source " + p.Source + " starts it. If none comes, " + checkRegistry
	}
	return "Wait a moment. If it stays so, the log has the cause."
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; and %d more", n)
}

// daemonState returns the state of the daemon with these pipelines, and the reasons that belong to no pipeline. storeProblem is
// that of the state store, or "".
func daemonState(config Configuration, storeProblem string, pipelines []Pipeline) (string, []Reason) {
	reasons := []Reason{}
	if config.Error != "" {
		check := "'haproxy-api check'"
		if config.File != "" {
			check = "'haproxy-api check -f " + config.File + "'"
		}
		reasons = append(reasons, degraded(ReasonConfiguration, config.Error, "Correct "+cmp.Or(config.File, "the configuration")+
			" and save it: it is loaded at once. The previous configuration stays in use until then. "+check+" shows "+
			"every fault."))
	}
	if storeProblem != "" {
		reasons = append(reasons, degraded(ReasonStateStore, "the last good state and the history are not saved: "+storeProblem,
			"Make the directory in haproxy_api.state_dir writable, or free space there. Until then the newest state and the "+
				"last changes would be missing after a restart. Writing is retried by itself."))
	}
	state := worst(reasons)
	for _, p := range pipelines {
		state = worse(state, p.State)
	}
	return state, reasons
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
