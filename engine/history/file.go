package history

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// A File keeps the content of a log, which is lines of JSON. Its methods are not called at the same time.
type File interface {
	Append(lines []byte) error    // adds lines to the end
	Replace(content []byte) error // replaces the whole content; after an error or a crash it is the old or the new one
}

// Open returns a log with the content of f, and starts a goroutine that writes new entries to f soon after they were put;
// [Log.Close] stops that. Lines of content that are damaged, such as one that was being written during a crash, are dropped.
// Errors of writing are logged and retried; the log keeps working in memory.
func Open(content []byte, f File, log *slog.Logger) *Log {
	l := &Log{}
	damaged := l.load(content)
	if damaged > 0 {
		log.Warn("the history has damaged lines, which are dropped", "lines", damaged)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.file = &fileWriter{
		file: f, log: log, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1), unsaved: map[uint64]bool{},
		size: len(content), rewrite: damaged > 0 || len(content) > maxFileBytes,
	}
	if l.file.rewrite {
		l.file.wakeWriter()
	}
	go l.write(ctx)
	return l
}

// Close writes what is not written yet and stops the writing. It may be called more than once. Entries that are put afterwards
// are kept in memory only.
func (l *Log) Close() {
	if l.file != nil {
		l.file.stop()
		<-l.file.done
	}
}

// Problem returns why entries are not written to the file, or "" if they are.
func (l *Log) Problem() string {
	if l.file == nil {
		return ""
	}
	return l.file.fault.Cause()
}

const (
	// maxFileBytes is how large a file grows before it is replaced by one with the present entries.
	maxFileBytes = 2 * maxBytes
	// writeInterval is the least time between two writes, so that frequent changes do not keep the disk busy.
	writeInterval = 200 * time.Millisecond
	// writeRetry is the time after which a write that failed is tried again.
	writeRetry = 10 * time.Second
)

// A record is a line of the file: an entry as it was put, or what the log knows beyond its entries.
type record struct {
	Change *Change `json:"change,omitempty"`
	Diff   string  `json:"diff,omitempty"` // empty for the one of the previous record of the entry

	Generation uint64 `json:"generation,omitempty"` // the last one that was used
	marks
}

// load puts the entries of content and returns the number of lines that are damaged.
func (l *Log) load(content []byte) (damaged int) {
	for line := range bytes.Lines(content) {
		var r record
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &r) != nil || !l.loadRecord(r) {
			damaged++
		}
	}
	return damaged
}

// loadRecord puts what r contains, and reports whether it is valid.
func (l *Log) loadRecord(r record) bool {
	switch {
	case r.Change != nil:
		c := bounded(*r.Change)
		if !isGeneration(c.Generation) || !slices.Contains(Outcomes(), c.Outcome) {
			return false
		}
		l.putLocked(c, r.Diff)
	case isGeneration(r.Generation):
		l.generation = max(l.generation, r.Generation)
		l.marks = r.bounded()
	default:
		return false
	}
	return true
}

// isGeneration reports whether n can be the number of an entry. Larger numbers could not be followed by others.
func isGeneration(n uint64) bool { return n > 0 && n < math.MaxInt64 }

func (m marks) bounded() marks {
	for _, mark := range []**Change{&m.LastChange, &m.LastReload, &m.InEffect} {
		if *mark != nil {
			c := bounded((*mark).Summary())
			*mark = &c
		}
	}
	return m
}

// A fileWriter is the state of writing a log to its file.
type fileWriter struct {
	file  File
	log   *slog.Logger
	stop  context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // has one element while there is something to write
	fault logdedup.Fault

	mu      sync.Mutex
	unsaved map[uint64]bool // generations of entries to write, and whether their diffs are to be written

	// Only the goroutine that writes accesses these.
	size    int  // of the file
	limit   int  // of size, if it is more than maxFileBytes
	rewrite bool // the file has to be replaced, because its end may be damaged
}

// add makes the goroutine write the entry.
func (w *fileWriter) add(generation uint64, withDiff bool) {
	w.mu.Lock()
	w.unsaved[generation] = w.unsaved[generation] || withDiff
	w.mu.Unlock()
	w.wakeWriter()
}

func (w *fileWriter) wakeWriter() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be written, and then nothing is.
func (w *fileWriter) take() map[uint64]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	unsaved := w.unsaved
	w.unsaved = map[uint64]bool{}
	return unsaved
}

// write writes new entries until ctx is done, and then once more.
func (l *Log) write(ctx context.Context) {
	defer close(l.file.done)
	for {
		select {
		case <-ctx.Done():
			l.flush()
			return
		case <-l.file.wake:
		}
		began := time.Now()
		wait := writeRetry
		if l.flush() {
			wait = max(writeInterval, 10*time.Since(began))
		} else {
			l.file.wakeWriter()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// flush writes what is not written yet, and reports whether that succeeded. After an error the next call writes everything.
func (l *Log) flush() bool {
	w := l.file
	unsaved := w.take()
	if len(unsaved) == 0 && !w.rewrite {
		return true
	}
	lines, err := l.encode(unsaved)
	if err == nil && !w.rewrite && w.size+len(lines) <= max(maxFileBytes, w.limit) {
		err = w.file.Append(lines)
		w.size += len(lines)
	} else if err == nil {
		if lines, err = l.encodeAll(); err == nil {
			err = w.file.Replace(lines)
			w.size, w.limit = len(lines), 2*len(lines)
		}
	}
	w.rewrite = err != nil
	if err != nil {
		w.fault.Error(w.log, "saving the history failed, retrying; the last changes would be missing after a restart", err)
		return false
	}
	w.fault.Resolve(w.log, "the history is saved again")
	return true
}

// encode returns the records of these entries, as far as the log still has them.
func (l *Log) encode(unsaved map[uint64]bool) ([]byte, error) {
	var records []record
	l.mu.Lock()
	for _, e := range l.entries {
		if withDiff, ok := unsaved[e.Generation]; ok {
			r := record{Change: &e.Change}
			if withDiff {
				r.Diff = e.diff
			}
			records = append(records, r)
		}
	}
	records = l.withMarks(records)
	l.mu.Unlock()
	return encodeRecords(records)
}

// encodeAll returns the content of a new file.
func (l *Log) encodeAll() ([]byte, error) {
	l.mu.Lock()
	var records []record
	for _, e := range l.entries {
		records = append(records, record{Change: &e.Change, Diff: e.diff})
	}
	records = l.withMarks(records)
	l.mu.Unlock()
	return encodeRecords(records)
}

// withMarks adds the record that follows those of entries, whose order need not be that in which they were put.
func (l *Log) withMarks(records []record) []record {
	if l.generation == 0 {
		return records
	}
	return append(records, record{Generation: l.generation, marks: l.marks})
}

func encodeRecords(records []record) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, r := range records {
		if err := encoder.Encode(r); err != nil {
			return nil, fmt.Errorf("encoding an entry: %w", err)
		}
	}
	return out.Bytes(), nil
}
