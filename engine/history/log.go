package history

import (
	"slices"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// maxChanges is how many changes a log keeps.
const maxChanges = 200

// A Log is the history of one pipeline. It is safe for concurrent use.
type Log struct {
	mu         sync.Mutex
	generation uint64 // of the newest entry
	changes    []Change
	diffs      map[uint64]string
	documents  []sdk.Document // the newest ones that were applied, oldest first
	lastChange *Change
	lastReload *Change
}

// NewLog returns an empty log that is kept in memory.
func NewLog() *Log { return &Log{diffs: map[uint64]string{}} }

// Next returns the generation of the next entry.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation++
	return l.generation
}

// Reserve makes Next return generations above generation only.
func (l *Log) Reserve(generation uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation = max(l.generation, generation)
}

// Put adds c, or replaces the entry with the same generation. diff is the masked unified diff of the document to the one before;
// an empty diff keeps the one of the replaced entry.
func (l *Log) Put(c Change, diff string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation = max(l.generation, c.Generation)
	if diff != "" {
		l.diffs[c.Generation] = diff
	}
	if c.Outcome == OutcomeApplied {
		l.lastChange = &c
		if c.IsReload() {
			l.lastReload = &c
		}
	}
	if i := slices.IndexFunc(l.changes, func(other Change) bool { return other.Generation == c.Generation }); i >= 0 {
		l.changes[i] = c
		return
	}
	l.changes = append(l.changes, c)
	if len(l.changes) > maxChanges {
		delete(l.diffs, l.changes[0].Generation)
		l.changes = slices.Delete(l.changes, 0, 1)
	}
}

// PutDocument keeps an applied document.
func (l *Log) PutDocument(doc sdk.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.documents = append(l.documents, doc)
}

// List returns up to limit entries whose generation is below before, newest first; before is 0 for the newest ones. more reports
// whether there are older ones.
func (l *Log) List(before uint64, limit int) (changes []Change, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Backward(l.changes) {
		if before != 0 && c.Generation >= before {
			continue
		}
		if len(changes) == limit {
			return changes, true
		}
		changes = append(changes, c)
	}
	return changes, false
}

// Get returns the entry with that generation, and false if there is none.
func (l *Log) Get(generation uint64) (Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		if c.Generation == generation {
			return c, true
		}
	}
	return Change{}, false
}

// Find returns the newest entry for which match returns true, and false if there is none. match must not modify the entry or call
// methods of l.
func (l *Log) Find(match func(*Change) bool) (Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.changes) - 1; i >= 0; i-- {
		if match(&l.changes[i]) {
			return l.changes[i], true
		}
	}
	return Change{}, false
}

// Diff returns the masked unified diff of that entry, which is empty for an entry without a new document or without a kept diff.
func (l *Log) Diff(generation uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.diffs[generation]
}

// DocumentOf returns the document that the entry with that generation is about, and false if it is no longer kept. It is not
// masked.
func (l *Log) DocumentOf(generation uint64) (sdk.Document, bool) {
	c, ok := l.Get(generation)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, doc := range l.documents {
		if ok && doc.Generation == c.Document {
			return doc, true
		}
	}
	return sdk.Document{}, false
}

// LastChange returns the newest entry that put a document into effect, and LastReload the newest one that reloaded or started the
// sink's program; nil for none. Both may be older than the oldest entry that is kept.
func (l *Log) LastChange() *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastChange
}

// LastReload returns the newest entry that reloaded or started the sink's program; nil for none.
func (l *Log) LastReload() *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastReload
}
