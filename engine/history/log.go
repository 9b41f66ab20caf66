package history

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// maxChanges is how many entries a log keeps, and maxEvents how many of them may be events if there are more entries than
	// that: a program that ends again and again must not displace the changes.
	maxChanges, maxEvents = 200, 100
	// maxBytes bounds the memory for the entries and their diffs.
	maxBytes = 4 << 20
	// maxDocumentBytes bounds the memory for the documents. The newest one is kept in any case.
	maxDocumentBytes = 4 << 20
)

// A Log is the history of one pipeline. It is safe for concurrent use.
type Log struct {
	mu         sync.Mutex
	generation uint64  // the last one that Next returned, or that an entry has
	entries    []entry // sorted by their generations
	bytes      int     // the sum of their sizes
	documents  []sdk.Document
	marks      marks

	file *fileWriter // nil for a log in memory
}

// An entry is a change and its diff.
type entry struct {
	Change
	diff string
	size int // of both in memory, approximately
}

// marks are what a log knows about entries that it may no longer have. The changes are summaries.
type marks struct {
	LastChange *Change `json:"last_change,omitempty"`
	LastReload *Change `json:"last_reload,omitempty"`
	InEffect   *Change `json:"in_effect,omitempty"` // see [Log.InEffect]
}

// NewLog returns an empty log that is kept in memory.
func NewLog() *Log { return &Log{} }

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
// an empty diff keeps the one of the replaced entry. The log keeps a bounded part of both.
func (l *Log) Put(c Change, diff string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.putLocked(bounded(c), diff)
	if l.file != nil {
		l.file.add(c.Generation, diff != "")
	}
}

func (l *Log) putLocked(c Change, diff string) {
	if len(diff) > maxDiff { // escape sequences have made it longer
		diff, c.DiffTruncated = diff[:strings.LastIndexByte(diff[:maxDiff], '\n')+1], true
	}
	l.generation = max(l.generation, c.Generation)
	l.marks.update(c)
	e := entry{Change: c, diff: diff}
	e.DiffDropped = c.DiffDropped && diff == ""
	i, replaces := l.search(c.Generation)
	if replaces {
		if before := l.entries[i]; diff == "" {
			e.diff, e.DiffDropped = before.diff, before.DiffDropped
		}
		l.bytes -= l.entries[i].size
		l.entries[i] = e
	} else {
		l.entries = slices.Insert(l.entries, i, e)
	}
	l.resizeLocked(i)
	l.trimLocked()
}

// search returns the index of the entry with that generation, or of where it would be, and whether there is one.
func (l *Log) search(generation uint64) (int, bool) {
	return slices.BinarySearchFunc(l.entries, generation, func(e entry, generation uint64) int {
		return cmp.Compare(e.Generation, generation)
	})
}

// resizeLocked updates the size of an entry whose former size, if any, no longer counts.
func (l *Log) resizeLocked(i int) {
	e := &l.entries[i]
	e.size = sizeOf(e.Change) + len(e.diff)
	l.bytes += e.size
}

// trimLocked drops what exceeds the bounds: entries, then the oldest diffs, then long lists of the oldest entries.
func (l *Log) trimLocked() {
	for len(l.entries) > maxChanges {
		l.dropLocked(l.leastUseful())
	}
	for _, reduce := range []func(*entry) bool{(*entry).dropDiff, (*entry).dropLists} {
		for i := 0; i < len(l.entries) && l.bytes > maxBytes; i++ {
			if size := l.entries[i].size; reduce(&l.entries[i]) {
				l.bytes -= size
				l.resizeLocked(i)
			}
		}
	}
	for l.bytes > maxBytes && len(l.entries) > 1 {
		l.dropLocked(0)
	}
}

func (l *Log) dropLocked(i int) {
	l.bytes -= l.entries[i].size
	l.entries = slices.Delete(l.entries, i, i+1)
}

// leastUseful returns the index of the entry to drop first.
func (l *Log) leastUseful() int {
	events, oldest := 0, 0
	for i, e := range slices.Backward(l.entries) {
		if e.Outcome == OutcomeEvent {
			events++
			oldest = i
		}
	}
	if events > maxEvents {
		return oldest
	}
	return 0
}

func (e *entry) dropDiff() bool {
	if e.diff == "" {
		return false
	}
	e.diff, e.DiffDropped = "", true
	return true
}

func (e *entry) dropLists() bool {
	e.Change = e.Summary()
	return true
}

// update records c, which was put.
func (m *marks) update(c Change) {
	summary := c.Summary()
	summary.DiffDropped = false // it may be dropped later
	switch c.Outcome {
	case OutcomeApplied:
		if c.Action != sdk.ActionUnchanged {
			m.LastChange = &summary
		}
		if m.InEffect == nil || m.InEffect.Digest != c.Digest {
			m.InEffect = &summary
		}
	case OutcomeLost:
		m.InEffect = nil
	case OutcomeEvent:
	default:
		return
	}
	isLate := c.Outcome == OutcomeEvent && m.LastReload != nil && c.Updated.Before(m.LastReload.Updated)
	if c.IsReload() && !isLate {
		m.LastReload = &summary
	}
}

// PutDocument keeps an applied document, as long as it is among the newest ones.
func (l *Log) PutDocument(doc sdk.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.documents = slices.DeleteFunc(l.documents, func(other sdk.Document) bool { return other.Generation == doc.Generation })
	l.documents = append(l.documents, doc)
	total := 0
	for i, doc := range slices.Backward(l.documents) {
		for _, file := range doc.Files {
			total += len(file.Name) + len(file.Content)
		}
		if total > maxDocumentBytes && i < len(l.documents)-1 {
			l.documents = slices.Delete(l.documents, 0, i+1)
			return
		}
	}
}

// List returns up to limit entries whose generation is below before, newest first; before is 0 for the newest ones. more reports
// whether there are older ones.
func (l *Log) List(before uint64, limit int) (changes []Change, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := len(l.entries)
	if before != 0 {
		end, _ = l.search(before)
	}
	start := max(0, end-limit)
	for _, e := range slices.Backward(l.entries[start:end]) {
		changes = append(changes, e.Change)
	}
	return changes, start > 0
}

// Get returns the entry with that generation, and false if there is none.
func (l *Log) Get(generation uint64) (Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.search(generation); ok {
		return l.entries[i].Change, true
	}
	return Change{}, false
}

// Find returns the newest entry for which match returns true, and false if there is none. match must not modify the entry or call
// methods of l.
func (l *Log) Find(match func(*Change) bool) (Change, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.entries) - 1; i >= 0; i-- {
		if match(&l.entries[i].Change) {
			return l.entries[i].Change, true
		}
	}
	return Change{}, false
}

// Diff returns the masked unified diff of that entry, which is empty for an entry without a new document or without a kept diff.
func (l *Log) Diff(generation uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.search(generation); ok {
		return l.entries[i].diff
	}
	return ""
}

// DocumentOf returns the document that the entry with that generation is about, and false if it is no longer kept. It is not
// masked.
func (l *Log) DocumentOf(generation uint64) (sdk.Document, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.search(generation); ok {
		generation = l.entries[i].Document
	}
	for _, doc := range l.documents {
		if doc.Generation == generation {
			return doc, true
		}
	}
	return sdk.Document{}, false
}

// LastChange returns a summary of the newest entry that changed what is in effect; nil for none. It may be older than the oldest
// entry that is kept.
func (l *Log) LastChange() *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks.LastChange
}

// LastReload returns a summary of the newest entry that reloaded or started the sink's program; nil for none. It may be older
// than the oldest entry that is kept.
func (l *Log) LastReload() *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks.LastReload
}

// InEffect returns a summary of the entry since which the present document has been in effect, and nil if none is. Applying the
// same document again does not change it. It may be older than the oldest entry that is kept.
func (l *Log) InEffect() *Change {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks.InEffect
}
