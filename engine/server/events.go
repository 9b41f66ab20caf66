package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
)

const (
	// maxEvents and maxEventsBytes bound the events that are kept for clients that reconnect.
	maxEvents      = 1000
	maxEventsBytes = 4 << 20
	// statusInterval is the least time between two status events of one pipeline.
	statusInterval = 250 * time.Millisecond
	// maxBatch and maxBatchBytes bound how many events are sent to a client at once.
	maxBatch      = 64
	maxBatchBytes = 32 << 10
)

// The kinds of events.
const (
	eventChange = "change" // an entry of a pipeline's history was added or updated
	eventStatus = "status" // the status of a pipeline, or of the daemon, may have changed
	eventReset  = "reset"  // events are missing: the client has to fetch everything again
)

// ChangeEvent is the data of an event of the kind change.
type ChangeEvent struct {
	Pipeline  string         `json:"pipeline"`
	Change    history.Change `json:"change"`
	Truncated bool           `json:"truncated,omitempty"` // parts of Change are missing: the history has all of it
}

// StatusEvent is the data of an event of the kind status.
type StatusEvent struct {
	Pipeline string `json:"pipeline"` // empty for the daemon itself, whose configuration was reloaded, for example
}

// Events are what happened recently, for the clients of /api/v1/events. It implements [engine.Observer]. Clients read at their
// own pace; nothing waits for them.
type Events struct {
	engine.NoObserver
	epoch string // distinguishes the ids of this process from those of an earlier one

	mu       sync.Mutex
	kept     []event       // oldest first
	bytes    int           // of kept
	newest   uint64        // the sequence number of the newest event
	added    chan struct{} // closed and replaced when an event is added
	statuses map[string]*statusTimer
}

// An event is sent to all clients in the same form.
type event struct {
	sequence uint64
	kind     string
	size     int
	data     func() []byte // in JSON
}

// A statusTimer limits how often a status event is added for one pipeline.
type statusTimer struct {
	last    time.Time
	pending *time.Timer // adds one more; nil for none
}

// NewEvents returns an object without events.
func NewEvents() *Events {
	return &Events{epoch: rand.Text()[:8], added: make(chan struct{}), statuses: map[string]*statusTimer{}}
}

// Changed adds a change event. The change is encoded when the first client reads it, so that the pipeline does not wait for that.
func (e *Events) Changed(pipeline string, c history.Change) {
	c, size, truncated := boundedChange(c)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addLocked(eventChange, size, ChangeEvent{Pipeline: pipeline, Change: c, Truncated: truncated})
}

// StatusChanged adds a status event, at most a few per second for each pipeline. An empty name stands for the daemon itself.
func (e *Events) StatusChanged(pipeline string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	status := e.statuses[pipeline]
	if status == nil {
		status = &statusTimer{}
		e.statuses[pipeline] = status
	}
	if status.pending != nil {
		return
	}
	if wait := statusInterval - time.Since(status.last); wait > 0 {
		status.pending = time.AfterFunc(wait, func() { e.addPendingStatus(pipeline, status) })
		return
	}
	e.addStatusLocked(pipeline, status)
}

func (e *Events) addPendingStatus(pipeline string, status *statusTimer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.statuses[pipeline] == status {
		e.addStatusLocked(pipeline, status)
	}
}

func (e *Events) addStatusLocked(pipeline string, status *statusTimer) {
	status.last, status.pending = time.Now(), nil
	e.addLocked(eventStatus, len(pipeline), StatusEvent{pipeline})
}

// SetComponents ends the status events of other pipelines than those.
func (e *Events) SetComponents(c Components) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, status := range e.statuses {
		if name == "" || slices.Contains(c.Pipelines, name) {
			continue
		}
		if status.pending != nil {
			status.pending.Stop()
		}
		delete(e.statuses, name)
	}
}

// addLocked adds an event with that data and drops the oldest ones that exceed the bounds.
func (e *Events) addLocked(kind string, size int, data any) {
	const overhead = 256 // of the parts of an event that have no size
	e.newest++
	e.kept = append(e.kept, event{e.newest, kind, size + overhead, sync.OnceValue(func() []byte { return encode(data) })})
	e.bytes += size + overhead
	drop := 0
	for len(e.kept)-drop > maxEvents || e.bytes > maxEventsBytes {
		e.bytes -= e.kept[drop].size
		e.kept[drop] = event{} // frees its memory
		drop++
	}
	e.kept = e.kept[drop:]
	close(e.added)
	e.added = make(chan struct{})
}

// after returns the first events after the one with that sequence number, oldest first, and false if some of them are no longer
// kept or if there is no such event.
func (e *Events) after(sequence uint64) ([]event, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	missed := e.newest - sequence
	if sequence > e.newest || missed > uint64(len(e.kept)) {
		return nil, false
	}
	events := e.kept[uint64(len(e.kept))-missed:]
	return slices.Clone(events[:min(len(events), maxBatch)]), true
}

// latest returns the sequence number of the newest event, and a channel that is closed when there is another one.
func (e *Events) latest() (sequence uint64, added <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.newest, e.added
}

// id returns the id of the event with that sequence number.
func (e *Events) id(sequence uint64) string { return e.epoch + "-" + strconv.FormatUint(sequence, 10) }

// sequence returns the sequence number in an id, and false if the id is not one of this process.
func (e *Events) sequence(id string) (uint64, bool) {
	number, ok := strings.CutPrefix(id, e.epoch+"-")
	if !ok {
		return 0, false
	}
	sequence, err := strconv.ParseUint(number, 10, 64)
	return sequence, err == nil
}

// An eventReader reads the events of one client.
type eventReader struct {
	events *Events
	last   uint64 // the sequence number of the last event that was read
	reset  bool   // the next event is a reset
}

// reader returns a reader that continues after the event with that id; with an empty id, after the newest event.
func (e *Events) reader(id string) *eventReader {
	r := &eventReader{events: e}
	r.last, _ = e.latest()
	if id == "" {
		return r
	}
	sequence, ok := e.sequence(id)
	if _, kept := e.after(sequence); ok && kept {
		r.last = sequence
	} else {
		r.reset = true
	}
	return r
}

// id returns the id of the last event that was read.
func (r *eventReader) id() string { return r.events.id(r.last) }

// next returns the next events in the format of server-sent events. It waits for one until ctx is done, and then returns nothing.
func (r *eventReader) next(ctx context.Context) []byte {
	for {
		newest, added := r.events.latest()
		events, ok := r.events.after(r.last)
		switch {
		case r.reset || !ok: // or the client reads more slowly than events arrive
			r.last, r.reset = newest, false
			return message(r.events.id(newest), eventReset, []byte("{}"))
		case len(events) > 0:
			return r.messages(events)
		}
		select {
		case <-added:
		case <-ctx.Done():
			return nil
		}
	}
}

// messages returns the first of the events. It exceeds maxBatchBytes by at most one event.
func (r *eventReader) messages(events []event) []byte {
	var all []byte
	for _, e := range events {
		all = append(all, message(r.events.id(e.sequence), e.kind, e.data())...)
		r.last = e.sequence
		if len(all) > maxBatchBytes {
			break
		}
	}
	return all
}

// message returns an event in the format of server-sent events. data must be one line.
func message(id, kind string, data []byte) []byte {
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, data)
}

var _ engine.Observer = (*Events)(nil)
