package engine

import (
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// An Attempt is one attempt of a sink to apply a document or to reread files.
type Attempt struct {
	Pipeline   string
	Generation uint64 // of the document
	Digest     string
	Trigger    history.Trigger // of the first attempt with the document
	Received   time.Time       // when the trigger arrived
	Started    time.Time       // when the document was passed to the sink
	Took       time.Duration   // by the sink
	Notes      []string        // of the template about the snapshot
	Result     sdk.Result
	Err        error // nil if the document was applied

	rendered rendering
}

// Outcome returns one of the Outcome constants of package history.
func (a Attempt) Outcome() string { return outcomeOf(a.Err) }
