package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// overdueAfter is how long a sink may take for a document before that is a problem to tell.
const overdueAfter = 15 * time.Second

// PipelineStatus is what a pipeline looks like at one moment.
type PipelineStatus struct {
	Name          string
	Source        string
	Generation    uint64              // of the document in effect; 0 for none
	Digest        string              // of the document in effect
	Since         time.Time           // when it came into effect
	TemplateError error               // why the newest template is not used
	ApplyError    error               // why the newest snapshot is not in effect
	InputsError   error               // why files that are read beside the document are not loaded as they are now
	Notes         []string            // what the template says about the newest snapshot
	Volatile      []string            // where the active template writes something else each time
	Excluded      []exclude.Exclusion // without whom the rest is live
	Quarantined   []Quarantined       // of the source's newest snapshot, before any template saw it
	Dropped       []Quarantined       // instances of it that templates see without some of their values
	Applying      time.Time           // since when the sink has been busy with a document; zero while it is not
	Waiting       *Waiting            // for what the newest document waits; nil for nothing
	Held          *Held               // why the newest snapshot of the source is not used yet; nil if it is
	StaleSince    time.Time           // when the snapshot in use was taken, if an earlier run left it behind; zero for one of this run
	Last          *Entry              // the newest offer to the sink
}

// board is where the pipeline's goroutine writes what others may read.
type board struct {
	mu      sync.Mutex
	status  PipelineStatus
	active  Template  // of the document in effect; nil for none
	offered time.Time // when the document was offered that the sink is busy with; zero for none
}

func (b *board) setInEffect(doc sdk.Document) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Generation, b.status.Digest, b.status.Since = doc.Generation, doc.Digest, time.Now()
}

// setLost notes that the sink has put the document with that generation back; 0 where it does not know which.
func (b *board) setLost(generation uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Generation, b.status.Digest, b.status.Since = generation, "", time.Now()
}

func (b *board) setOffered(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offered = at
}

// overdue returns for how long the sink has been busy with a document, if that is remarkable.
func (b *board) overdue() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	busy := time.Since(b.offered)
	return busy.Round(time.Second), !b.offered.IsZero() && busy > overdueAfter
}

func (b *board) setActive(t Template) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active = t
}

func (b *board) activeTemplate() Template {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active
}

// inherit takes over what the board of a pipeline says that has stopped, but for errors that another try may not have.
func (b *board) inherit(before *board) {
	before.mu.Lock()
	status, active := before.status, before.active
	before.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status, b.active = status, active
	b.status.ApplyError, b.status.InputsError, b.status.Waiting = nil, nil, nil
}

// setTemplateError returns the error before.
func (b *board) setTemplateError(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.status.TemplateError
	b.status.TemplateError = err
	return before
}

func (b *board) setApplyError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.ApplyError = err
}

func (b *board) setInputsError(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.InputsError = err
}

func (b *board) setWaiting(w *Waiting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Waiting = w
}

// setLeftOut returns those before.
func (b *board) setExcluded(now []exclude.Exclusion) []exclude.Exclusion {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.status.Excluded
	b.status.Excluded = now
	return before
}

// setNotes returns the notes before.
func (b *board) setNotes(notes []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.status.Notes
	b.status.Notes = notes
	return before
}

// setVolatile returns what was told before.
func (b *board) setVolatile(now []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.status.Volatile
	b.status.Volatile = now
	return before
}

func (p *pipeline) report() PipelineStatus {
	p.board.mu.Lock()
	status := p.board.status
	status.Applying = p.board.offered
	p.board.mu.Unlock()
	status.Name, status.Source = p.name, p.source.name
	p.source.report(&status)
	if entry, ok := p.ledger.last(); ok {
		status.Last = &entry
	}
	return status
}

const (
	// askWithin bounds one question to a sink how it is.
	askWithin = 2 * time.Second
	// askSilentWithin bounds it where the sink has let the last one pass.
	askSilentWithin = 50 * time.Millisecond
)

// health asks the sink, but not for longer than ctx: a sink may hang. One that let a question pass delays nobody until it has
// answered another.
func (p *pipeline) health(ctx context.Context) sdk.Health {
	var health sdk.Health
	if p.silent.Load() {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, askSilentWithin)
		defer done()
	}
	select {
	case answered := <-p.askSink(ctx):
		health = answered.Val.(sdk.Health)
		health.Problems = slices.Clone(health.Problems)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.silent.Store(true)
		}
		health.Problems = []string{"the sink does not answer"}
	}
	if busy, overdue := p.board.overdue(); overdue {
		health.Problems = append(health.Problems, fmt.Sprintf("the sink has been busy with a configuration for %s", busy))
	}
	if err := p.report().ApplyError; err != nil {
		health.Problems = append(health.Problems, "the last configuration could not be applied: "+err.Error())
	}
	if err := p.report().InputsError; err != nil {
		health.Problems = append(health.Problems, "files that are read beside the configuration cannot be loaded: "+err.Error())
	}
	return health
}

// askSink puts the question to the sink, or shares one that is under way: anybody may want to know, and many at once would take
// from the sink, and from what it feeds, the time for changes.
func (p *pipeline) askSink(ctx context.Context) <-chan singleflight.Result {
	return p.asking.DoChan("health", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
		defer cancel()
		health, err := p.sink.Health(ctx)
		p.silent.Store(ctx.Err() != nil)
		if err != nil {
			health.Problems = append(health.Problems, "the sink cannot tell how it is: "+err.Error())
		}
		return health, nil
	})
}
