package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// keep is how many entries a ledger remembers.
	keep = 128
	// maxKeptPlaces is how many places of a rejection it remembers.
	maxKeptPlaces = 10
)

// An Entry is what became of one document that was offered to a sink.
type Entry struct {
	Pipeline   string
	Generation uint64
	Digest     string
	Trigger    string              // one of the Trigger constants
	Last       *sdk.Change         // the catalogue's own word on what changed, if it gave one
	Notes      []string            // what the template had to say about the snapshot
	Excluded   []exclude.Exclusion // what the document was rendered without
	Received   time.Time           // when the source learned of the snapshot
	Offered    time.Time
	Took       time.Duration // how long the sink took
	Result     sdk.Result
	Err        error // nil when the document is in effect
}

// ledger remembers the last entries of one pipeline.
type ledger struct {
	mu      sync.Mutex
	entries []Entry // oldest first
}

func (l *ledger) add(e Entry) {
	e.Err = summarized(e.Err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == keep {
		l.entries = append(l.entries[:0], l.entries[1:]...)
	}
	l.entries = append(l.entries, e)
}

// summarized returns err, and in the place of a rejection with many faults one that says the same: a ledger of those would
// take much memory.
func summarized(err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) <= maxKeptPlaces {
		return err
	}
	return &sdk.Rejection{Err: errors.New(err.Error()), Temporary: rejection.Temporary}
}

// last returns the newest entry, and false where there is none.
func (l *ledger) last() (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return Entry{}, false
	}
	return l.entries[len(l.entries)-1], true
}
