package history

import "github.com/haproxy-api/haproxy-api/plugins/sdk"

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
