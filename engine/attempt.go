package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// maxEntries is how many entries are kept.
	maxEntries = 128
	// maxKeptPositions is how many positions of a rejection an entry keeps.
	maxKeptPositions = 10
)

// An Entry is the outcome of applying one document.
type Entry struct {
	Pipeline   string
	Generation uint64
	Digest     string
	Trigger    string              // one of the Trigger constants
	Last       *sdk.Change         // the change that the source reported; nil for none
	Notes      []string            // of the template about the snapshot
	Excluded   []exclude.Exclusion // what the document was rendered without
	Received   time.Time           // when the source learned of the snapshot
	Started    time.Time           // when the document was passed to the sink
	Took       time.Duration       // by the sink
	Result     sdk.Result
	Err        error // nil if the document was applied
}

// entries keeps the last entries of one pipeline.
type entries struct {
	mu   sync.Mutex
	list []Entry // oldest first
}

func (h *entries) add(e Entry) {
	e.Err = withoutPositions(e.Err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) == maxEntries {
		h.list = append(h.list[:0], h.list[1:]...)
	}
	h.list = append(h.list, e)
}

// withoutPositions returns err, or an error of the same text and kind if it is a rejection with many positions, which would
// take much memory.
func withoutPositions(err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) <= maxKeptPositions {
		return err
	}
	return &sdk.Rejection{Err: errors.New(err.Error()), Temporary: rejection.Temporary}
}

// last returns the newest entry, and false if there is none.
func (h *entries) last() (Entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) == 0 {
		return Entry{}, false
	}
	return h.list[len(h.list)-1], true
}
