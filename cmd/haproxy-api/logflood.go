package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// floodAfter is how many records with one message are logged in a minute. Who may push could have us log thousands of them in
	// a second, by pushing one thing and another in turns.
	floodAfter = 200
	// floodKinds bounds the messages that are counted by themselves; plugins make up theirs.
	floodKinds = 1000
)

// A floodgate passes on what is logged, but not endlessly the same: of the records with one message those beyond a bound are
// dropped until the minute is over, and that is told. Debugging is not bounded.
type floodgate struct {
	slog.Handler
	counts *counts
}

func newFloodgate(h slog.Handler) floodgate { return floodgate{h, &counts{}} }

// Handle implements [slog.Handler].
func (f floodgate) Handle(ctx context.Context, r slog.Record) error {
	if r.Level <= slog.LevelDebug {
		return f.Handler.Handle(ctx, r)
	}
	switch n := f.counts.add(whatIsSaid(r), r.Time); {
	case n > floodAfter+1:
		return nil
	case n == floodAfter+1:
		told := slog.NewRecord(r.Time, slog.LevelWarn, "too many lines say the same: the rest of this minute's are dropped", 0)
		told.AddAttrs(slog.String("which", r.Message))
		return f.Handler.Handle(ctx, told)
	}
	return f.Handler.Handle(ctx, r)
}

// whatIsSaid tells records apart of which there may be too many. Reloads must not go under in changes at run time, which are
// many.
func whatIsSaid(r slog.Record) string {
	kind := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "action" {
			kind += " " + a.Value.String()
		}
		return true
	})
	return kind
}

// WithAttrs implements [slog.Handler].
func (f floodgate) WithAttrs(attrs []slog.Attr) slog.Handler {
	return floodgate{f.Handler.WithAttrs(attrs), f.counts}
}

// WithGroup implements [slog.Handler].
func (f floodgate) WithGroup(name string) slog.Handler {
	return floodgate{f.Handler.WithGroup(name), f.counts}
}

// counts are of the messages in the current minute. They are safe for concurrent use.
type counts struct {
	mu     sync.Mutex
	minute time.Time
	of     map[string]int
}

// add returns how often message has been there in the minute of now.
func (c *counts) add(message string, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(c.minute) {
		c.minute, c.of = minute, map[string]int{}
	}
	if _, known := c.of[message]; !known && len(c.of) >= floodKinds {
		message = "" // all others together
	}
	c.of[message]++
	return c.of[message]
}
