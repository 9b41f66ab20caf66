package display

import (
	"cmp"
	"strings"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/history"
)

// triggers are the kinds of triggers in words. The detail of a trigger follows the second part.
var triggers = map[string]struct{ text, detail string }{
	history.TriggerPush:    {"push", " from "},
	history.TriggerWatch:   {"watch of the source", ": "},
	history.TriggerResync:  {"resync of the source", ": "},
	history.TriggerSource:  {"snapshot of the source", ": "},
	history.TriggerRelease: {"held snapshot released", ": "},
	history.TriggerSave:    {"template saved", ": "},
	history.TriggerConfig:  {"configuration reloaded", ": "},
	history.TriggerRequest: {"apply requested", " from "},
	history.TriggerStart:   {"start of haproxy-api", ": "},
	history.TriggerRestart: {"restart of the plugin of the sink", ": "},
	history.TriggerLost:    {"the sink lost the applied document", ": "},
	history.TriggerInputs:  {"watched files changed", ": "},
	history.TriggerReread:  {"SIGHUP, to read files again", ": "},
	history.TriggerRetry:   {"retry", ": "},
	history.TriggerSink:    {"reported by the sink", ": "},
}

// triggerOf returns the trigger of a change in words.
func triggerOf(t history.Trigger) string {
	words, ok := triggers[t.Kind]
	if !ok {
		words.text, words.detail = oneLine(t.Kind), ": "
	}
	if t.Detail == "" {
		return words.text
	}
	return words.text + words.detail + oneLine(t.Detail)
}

// whatOf returns what happened: the kind of the event, or the action; "-" for neither.
func whatOf(c history.Change) string {
	return cmp.Or(oneLine(c.Event), oneLine(c.Action), "-")
}

// whyOf returns the most important text about a change in one line: why it is not applied, or else what happened to instances or,
// for a reload and an event, the reason.
func whyOf(c history.Change) string {
	instances := oneLine(strings.Join(c.Instances, "; "))
	switch {
	case c.Error != "":
		return oneLine(c.Error)
	case c.Event != "" || c.IsReload() || instances == "":
		return cmp.Or(oneLine(c.Reason), instances)
	}
	return instances
}

// outcomeIn returns the outcome in the color that suits it.
func outcomeIn(colors terminal.Palette, outcome, text string) string {
	switch outcome {
	case history.OutcomeApplied:
		return colors.Success(text)
	case history.OutcomeRejected, history.OutcomeNotLoaded, history.OutcomeFailed, history.OutcomeLost:
		return colors.Failure(text)
	case history.OutcomeDeferred, history.OutcomeSuperseded:
		return colors.Warning(text)
	}
	return text
}
