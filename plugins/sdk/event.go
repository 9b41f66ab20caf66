package sdk

import (
	"context"
	"time"
)

// An EventReporter is a [Sink] that reports what happens to its program apart from Apply and Reread: that it ended, for example,
// or that another program changed it. The daemon adds these events to the pipeline's history.
type EventReporter interface {
	// OnEvent is called once, before the first Health or Apply. The sink calls report after each event. report does not block
	// and may be called from any goroutine. If the daemon does not read for long, the oldest events are dropped.
	OnEvent(report func(Event))
}

// The kinds of events, in [Event].Kind.
const (
	EventCrashed       = "crashed"        // the program ended by itself
	EventRestarted     = "restarted"      // the sink started the program again
	EventLoadFailed    = "load_failed"    // the sink could not start the program again, or have it load its configuration again
	EventReloaded      = "reloaded"       // the sink had the program load its configuration again, without a new document
	EventForeignReload = "foreign_reload" // another program started or reloaded the program
	EventDriftRepaired = "drift_repaired" // the sink undid what another program had changed
	EventReverted      = "reverted"       // the sink took back a document that it had reported as applied; not needed with [Lost]
	EventOther         = "other"          // what the daemon makes of any other word
)

// An Event is something that happened to the program of a sink.
type Event struct {
	Kind       string    // one of the Event constants
	Time       time.Time // zero for now
	Reason     string    // what happened and why
	Generation uint64    // of the [Document] that is in effect afterwards; 0 if the sink does not know it
	Commands   []Command // what the sink sent to the program
	Details    []string  // further human-readable text, such as the last lines that the program logged
}

// A ServerReporter is a [Sink] whose program distributes requests among servers, and knows their state.
type ServerReporter interface {
	// Servers returns the servers of the running program. It may be called at any time, also while Apply runs, and should
	// answer within a second.
	Servers(ctx context.Context) ([]Server, error)
}

// A Server is an instance as the program of a sink sees it.
type Server struct {
	Backend  string // the group of servers to which it belongs
	Name     string
	Address  string        // IP and port, as in "192.0.2.7:31000"
	Status   string        // in the program's words, such as "UP" or "DOWN"
	InStatus time.Duration // for how long it has had that status
	Check    string        // the result of the last health check, in the program's words; empty for none
	Weight   int
	Sessions int // that are open
	Queue    int // requests that wait for it
}
