package engine

import (
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A cause is what makes a pipeline reconcile, and when it arrived.
type cause struct {
	history.Trigger
	at time.Time
}

// causeNow returns a cause that arrives now.
func causeNow(kind, detail string) cause {
	return cause{history.Trigger{Kind: kind, Detail: OneLine(Masked(detail))}, time.Now()}
}

// An event is a cause with what came with it.
type event struct {
	cause
	lost sdk.Lost // for [history.TriggerLost]
}

// A causedSnapshot is a snapshot that a pipeline may use, with the reason why it gets it.
type causedSnapshot struct {
	sdk.Snapshot
	cause cause
}

// maxTakenAge is how long before its arrival a snapshot may have been taken. The clock of a plugin that says something else is
// not used.
const maxTakenAge = time.Minute

// causeOf returns the cause of a snapshot that the source has just emitted.
func causeOf(snap sdk.Snapshot) cause {
	c := causeNow(history.TriggerSource, "")
	switch snap.Cause {
	case sdk.CausePush:
		c = causeNow(history.TriggerPush, snap.Sender)
	case sdk.CauseWatch:
		c = causeNow(history.TriggerWatch, "")
	case sdk.CauseResync:
		c = causeNow(history.TriggerResync, "")
	}
	if age := c.at.Sub(snap.Taken); age > 0 && age < maxTakenAge {
		c.at = snap.Taken
	}
	return c
}
