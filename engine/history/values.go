package history

import (
	"slices"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Outcomes returns all outcomes of changes.
func Outcomes() []string {
	return []string{
		OutcomeApplied, OutcomeDeferred, OutcomeRejected, OutcomeNotLoaded, OutcomeFailed, OutcomeSuperseded, OutcomeLost,
		OutcomeEvent,
	}
}

// Triggers returns all kinds of triggers.
func Triggers() []string {
	return []string{
		TriggerPush, TriggerWatch, TriggerResync, TriggerSource, TriggerRelease, TriggerSave, TriggerConfig, TriggerRequest,
		TriggerStart, TriggerRestart, TriggerLost, TriggerInputs, TriggerReread, TriggerRetry, TriggerSink,
	}
}

// Actions returns all values of [KnownAction] but the empty one.
func Actions() []string {
	return []string{
		sdk.ActionUnchanged, sdk.ActionRuntime, sdk.ActionReload, sdk.ActionRestart, sdk.ActionWritten, sdk.ActionOther,
	}
}

// Events returns all kinds of events.
func Events() []string {
	return []string{
		sdk.EventCrashed, sdk.EventRestarted, sdk.EventLoadFailed, sdk.EventReloaded, sdk.EventForeignReload,
		sdk.EventDriftRepaired, sdk.EventReverted, sdk.EventOther,
	}
}

// KnownAction returns action, or [sdk.ActionOther] for a word that a plugin invented. Metrics and filters use it.
func KnownAction(action string) string {
	if action == "" || slices.Contains(Actions(), action) {
		return action
	}
	return sdk.ActionOther
}

// KnownEvent returns the kind of an event, or [sdk.EventOther] for a word that a plugin invented.
func KnownEvent(kind string) string {
	if slices.Contains(Events(), kind) {
		return kind
	}
	return sdk.EventOther
}

// HasAction reports whether one of the names is the action of c, or other if c has one that a plugin invented, or the kind of the
// event that c is about.
func (c Change) HasAction(names []string) bool {
	return slices.Contains(names, KnownAction(c.Action)) || c.Event != "" && slices.Contains(names, c.Event)
}
