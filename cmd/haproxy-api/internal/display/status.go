package display

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// The states of a daemon whose status cannot be had. The other states are those of package server.
const (
	StateAway    = "away"    // it does not answer
	StateUnknown = "unknown" // it denies the request, or is no haproxy-api of this version
)

// maxListed bounds the lists in the status. The JSON form has everything.
const maxListed = 10

// A Status is the status of a daemon, or why it cannot be had. Its JSON form is that of [server.Status] with more fields.
type Status struct {
	URL   string `json:"url"`   // of the daemon
	State string `json:"state"` // one of the State constants, or that of the daemon
	Error string `json:"error,omitempty"`
	Note  string `json:"note,omitempty"` // about the connection

	*server.Status // nil if it cannot be had
}

// NewStatus returns the status of the daemon at a URL.
func NewStatus(url string, status server.Status, note string) Status {
	return Status{URL: url, State: status.State, Note: note, Status: &status}
}

// NoStatus returns why the status of the daemon at a URL cannot be had. The state is one of the State constants.
func NoStatus(url, state string, err error) Status {
	return Status{URL: url, State: state, Error: engine.Printable(err.Error())}
}

// IsFailure reports whether the daemon is unhealthy or its status cannot be had.
func (s Status) IsFailure() bool { return s.Status == nil || s.State == server.StateUnhealthy }

// SameAs reports whether nothing has changed since other but the uptime.
func (s Status) SameAs(other Status) bool { return s.comparable() == other.comparable() }

func (s Status) comparable() string {
	if s.Status == nil {
		return s.State + s.Error
	}
	status := *s.Status
	status.UptimeSeconds = 0
	content, _ := json.Marshal(status) // a status can always be encoded
	return string(content)
}

// ShowStatus writes a status: a headline, a block for each pipeline, and what to do about each problem.
func ShowStatus(p *terminal.Page, s Status, now time.Time) {
	p.Line(stateIn(p.Palette, s.State, "● "+oneLine(s.State)) + summary(s))
	if s.Note != "" {
		p.Line(p.Warning("note: " + oneLine(s.Note)))
	}
	if s.Status == nil {
		p.Line(oneLine(s.Error))
		return
	}
	p.Line(p.Faint(fmt.Sprintf("haproxy-api %s at %s, up %s", oneLine(s.Version), s.URL,
		age(time.Duration(s.UptimeSeconds)*time.Second))))
	if s.Config.File != "" {
		p.Line(p.Faint(fmt.Sprintf("configuration %s, loaded %s", oneLine(s.Config.File), clock(s.Config.Loaded, now))))
	}
	for _, pipeline := range s.Pipelines {
		showPipeline(p, pipeline, sourceOf(s, pipeline), now)
	}
	showProblems(p, s)
}

// stateIn returns text in the color of a state.
func stateIn(colors terminal.Palette, state, text string) string {
	switch state {
	case server.StateHealthy:
		return colors.Success(text)
	case server.StateDegraded:
		return colors.Warning(text)
	}
	return colors.Failure(text)
}

// kinds are the kinds of reasons in words.
var kinds = map[string]string{
	server.ReasonSink:          "sink problem",
	server.ReasonRestarting:    "HAProxy restarting",
	server.ReasonNotApplied:    "newest document not applied",
	server.ReasonWatchedFiles:  "watched files not loaded",
	server.ReasonTemplate:      "template refused",
	server.ReasonNothing:       "nothing applied yet",
	server.ReasonSource:        "source problem",
	server.ReasonStale:         "stale source",
	server.ReasonHeld:          "snapshot held",
	server.ReasonExcluded:      "excluded",
	server.ReasonQuarantined:   "quarantined",
	server.ReasonConfiguration: "configuration file refused",
	server.ReasonStateStore:    "state not saved",
}

func kindOf(r server.Reason) string { return cmp.Or(kinds[r.Kind], oneLine(r.Kind)) }

// summary says in a few words why the daemon is not healthy.
func summary(s Status) string {
	if s.Status == nil {
		return ""
	}
	var all []string
	for _, r := range s.Reasons {
		all = append(all, kindOf(r))
	}
	for _, pipeline := range s.Pipelines {
		for _, r := range pipeline.Reasons {
			text := kindOf(r)
			switch r.Kind {
			case server.ReasonExcluded:
				text = fmt.Sprintf("%d excluded", pipeline.ExcludedCount)
			case server.ReasonQuarantined:
				text = fmt.Sprintf("%d quarantined", pipeline.QuarantinedCount)
			}
			if len(s.Pipelines) > 1 {
				text += " (" + oneLine(pipeline.Name) + ")"
			}
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(slices.Compact(all), ", ")
}

func sourceOf(s Status, p server.Pipeline) server.Source {
	for _, source := range s.Sources {
		if source.Name == p.Source {
			return source
		}
	}
	return server.Source{Name: p.Source}
}

func showPipeline(p *terminal.Page, pipeline server.Pipeline, source server.Source, now time.Time) {
	p.Line("")
	state := stateIn(p.Palette, pipeline.State, oneLine(pipeline.State))
	p.Hanging(p.Bold(oneLine(pipeline.Name))+"  ", state+"  "+flow(pipeline))
	p.Fields(fieldIndent, pipelineFields(pipeline, source, now))
}

// flow names the source, the template and the sink.
func flow(p server.Pipeline) string {
	template := ""
	if len(p.Templates) > 0 {
		template = filepath.Base(oneLine(p.Templates[0]))
		if more := len(p.Templates) - 1; more > 0 {
			template += fmt.Sprintf(" +%d", more)
		}
	}
	return join(" → ", withType(p.Source, p.SourceType), template, withType(p.Sink, p.SinkType))
}

func withType(name, typ string) string {
	if typ == "" || typ == name {
		return oneLine(name)
	}
	return oneLine(name) + " (" + oneLine(typ) + ")"
}

func pipelineFields(p server.Pipeline, source server.Source, now time.Time) [][2]string {
	var fields [][2]string
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, [2]string{name, value})
		}
	}
	add("in effect", inEffect(p, now))
	if p.Applying != nil {
		add("applying", "since "+clockAndAge(*p.Applying, now))
	}
	if w := p.Waiting; w != nil {
		add("waiting", fmt.Sprintf("until %s: %s", clock(w.Until, now), oneLine(w.Reason)))
	}
	addChange := func(name string, c *history.Change) {
		if c != nil {
			add(name, fmt.Sprintf("%d %s at %s, %s", c.Generation, whatOf(*c), clock(c.Updated, now), triggerOf(c.Trigger)))
			if why := whyOf(*c); why != "" && why != triggerOf(c.Trigger) {
				fields = append(fields, [2]string{"", shortened(why)})
			}
		}
	}
	addChange("last change", p.LastChange)
	addChange("last reload", p.LastReload)
	if cause := oneLine(source.LastCause); cause == "" {
		add("received", lastSnapshot(source, now))
	} else {
		add("last "+cause, lastSnapshot(source, now))
	}
	add("instances", instances(source))
	for _, note := range bounded(p.Notes) {
		add("note", oneLine(note))
	}
	for _, place := range bounded(p.Nondeterministic) {
		add("varies", oneLine(place))
	}
	for _, d := range p.Dropped[:min(len(p.Dropped), maxListed)] {
		add("not used", describe(d.Service, d.Instance, d.Hostname)+": "+oneLine(d.Reason))
	}
	if more := p.DroppedCount - maxListed; more > 0 {
		add("not used", fmt.Sprintf("and %d more values", more))
	}
	add("sink", facts(p.Facts))
	add("source", facts(p.SourceFacts))
	return fields
}

// maxReason bounds the reason of a change in characters. 'haproxy-api explain' has all of it.
const maxReason = 240

func shortened(text string) string {
	if runes := []rune(text); len(runes) > maxReason {
		return string(runes[:maxReason-1]) + "…"
	}
	return text
}

func inEffect(p server.Pipeline, now time.Time) string {
	if p.Since == nil {
		return "nothing yet"
	}
	text := fmt.Sprintf("%d since %s", p.Generation, clockAndAge(*p.Since, now))
	if !p.InSync {
		text += ", not the newest"
	}
	return text
}

func lastSnapshot(source server.Source, now time.Time) string {
	if source.LastSnapshot == nil {
		return ""
	}
	text := clockAndAge(*source.LastSnapshot, now)
	if source.LastSender != "" {
		text += " from " + oneLine(source.LastSender)
	}
	return text
}

// instances counts the instances of a source by status, without those statuses that none has.
func instances(source server.Source) string {
	if source.LastSnapshot == nil && source.Services == 0 {
		return ""
	}
	counts := source.Instances
	text := fmt.Sprintf("%d alive", counts.Alive)
	for _, other := range []struct {
		n    int
		what string
	}{
		{counts.Unhealthy, "unhealthy"}, {counts.Draining, "draining"}, {counts.Tombstone, "gone"},
		{counts.Unknown, "unknown"}, {source.QuarantinedCount, "quarantined"},
	} {
		if other.n > 0 {
			text += fmt.Sprintf(", %d %s", other.n, other.what)
		}
	}
	return text + " in " + plural(source.Services, "service")
}

// quietFacts are the values of facts that are not shown, because they mean that nothing is wrong or because the status has them
// elsewhere; "*" is any value.
var quietFacts = map[string]string{
	"haproxy_up": "1", "haproxy_restarts": "0", "old_workers_count": "0", "drift_repairs": "0", "persist_pending": "0",
	"plugin": "*", "plugin_pid": "*", "plugin_restarts": "0", "last_change": "*",
}

// facts lists what a plugin reports about itself.
func facts(all map[string]string) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if quiet := quietFacts[name]; quiet != "*" && quiet != all[name] {
			texts = append(texts, oneLine(name)+terminal.NoBreak+oneLine(all[name]))
		}
	}
	return strings.Join(texts, ", ")
}

func bounded(all []string) []string { return first(all, len(all)) }

// first is [bounded] for the first lines of that many.
func first(lines []string, count int) []string {
	if count <= maxListed {
		return lines
	}
	return append(slices.Clone(lines[:min(len(lines), maxListed)]), fmt.Sprintf("and %d more", count-maxListed))
}

// describe names an instance or, without its ID and host, its service.
func describe(service, instance, hostname string) string {
	if instance == "" && hostname == "" {
		return cmp.Or(oneLine(service), "the catalogue")
	}
	return fmt.Sprintf("%s/%s on %s", oneLine(service), oneLine(instance), oneLine(hostname))
}
