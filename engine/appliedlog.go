package engine

import (
	"log/slog"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// summaryInterval is how often frequent changes are logged.
const summaryInterval = 10 * time.Second

// An appliedLog logs the documents that were applied. Each reload and restart has a line. Other changes can come many times in a
// second: the first has a line, and those within summaryInterval after a line have one together. It is safe for concurrent use.
type appliedLog struct {
	log *slog.Logger

	mu       sync.Mutex
	timer    *time.Timer // calls summarise; nil if there was no line within summaryInterval
	further  int         // changes since the line
	lastArgs []any       // of the newest of them
}

// add logs that the document with that generation was applied. A document that was applied again without effect is no change.
func (l *appliedLog) add(generation uint64, again bool, a *Attempt) {
	args := []any{"generation", generation, "action", a.Result.Action, "reason", a.Result.Reason, "trigger", a.Trigger.Kind,
		"took", a.Took.Round(time.Millisecond)}
	const message = "configuration applied"
	if again && a.Result.Action == sdk.ActionUnchanged {
		l.log.Debug(message, args...)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.Result.Action == sdk.ActionReload || a.Result.Action == sdk.ActionRestart:
		l.writeSummaryLocked()
		l.log.Info(message, args...)
	case l.timer != nil:
		l.log.Debug(message, args...)
		l.further++
		l.lastArgs = args
	default:
		l.log.Info(message, args...)
		l.timer = time.AfterFunc(summaryInterval, l.summarise)
	}
}

// summarise logs the changes since the last line. If there were none, the next change has a line of its own.
func (l *appliedLog) summarise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil { // it was stopped meanwhile
		return
	}
	if l.further == 0 {
		l.timer = nil
		return
	}
	l.writeSummaryLocked()
	l.timer.Reset(summaryInterval)
}

func (l *appliedLog) writeSummaryLocked() {
	if l.further > 0 {
		l.log.Info("further configurations applied; the attributes are those of the newest",
			append([]any{"changes", l.further}, l.lastArgs...)...)
		l.further = 0
	}
}

// flush logs the changes since the last line now.
func (l *appliedLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.writeSummaryLocked()
}
