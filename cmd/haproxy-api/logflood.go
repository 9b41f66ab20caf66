package main

import (
	"context"
	"log/slog"
	"slices"
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
// dropped until the minute is over, and that is told. It counts for each pipeline, sink and source by itself. An error that goes
// on is logged when it begins and when it changes: see [ongoingErrors]. Debugging is not bounded.
type floodgate struct {
	slog.Handler
	component string // which pipeline, sink or source the logger belongs to; "" for none
	counts    *counts
	errors    *ongoingErrors
}

func newFloodgate(h slog.Handler) floodgate {
	return floodgate{Handler: h, counts: &counts{}, errors: &ongoingErrors{of: map[string]map[string]ongoingError{}}}
}

// Handle implements [slog.Handler].
func (f floodgate) Handle(ctx context.Context, r slog.Record) error {
	if r.Level <= slog.LevelDebug {
		return f.Handler.Handle(ctx, r)
	}
	if f.errors.goOn(f.component, r) {
		return nil
	}
	switch n := f.counts.add(f.component+whatIsSaid(r), r.Time); {
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
	next := f
	next.Handler = f.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if slices.Contains(componentKeys, a.Key) {
			next.component += a.Key + "=" + a.Value.String() + " "
		}
	}
	return next
}

// WithGroup implements [slog.Handler].
func (f floodgate) WithGroup(name string) slog.Handler {
	next := f
	next.Handler = f.Handler.WithGroup(name)
	return next
}

// componentKeys are the attributes of a logger by which its component is known. Records cannot set them.
var componentKeys = []string{"pipeline", "sink", "source"}

// faultAgain is after which time an error that goes on is logged again.
const faultAgain = time.Hour

// ongoingErrors are the errors of each component since it last logged something else, by message.
type ongoingErrors struct {
	mu sync.Mutex
	of map[string]map[string]ongoingError
}

type ongoingError struct {
	err string
	at  time.Time // of the last record that was logged
}

// goOn reports whether r says what the component has logged already, with nothing else between. Whatever a component logs that
// is no error, such as that a configuration is in effect, ends its errors: the next one is logged again.
func (f *ongoingErrors) goOn(component string, r slog.Record) bool {
	if component == "" {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Level < slog.LevelWarn {
		delete(f.of, component)
		return false
	}
	now := ongoingError{errorOf(r), r.Time}
	if now.err == "" {
		return false
	}
	if f.of[component] == nil {
		f.of[component] = map[string]ongoingError{}
	}
	before, known := f.of[component][r.Message]
	if known && before.err == now.err && now.at.Sub(before.at) < faultAgain {
		return true
	}
	if known || len(f.of[component]) < floodKinds {
		f.of[component][r.Message] = now
	}
	return false
}

func errorOf(r slog.Record) (text string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			text = a.Value.String()
		}
		return text == ""
	})
	return text
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
