package logdedup

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// maxPerMinute is how many records with the same message are logged in a minute. Anyone who can push can cause thousands of
	// them in a second, by alternating between two states.
	maxPerMinute = 200
	// repeatAfter is the time after which an error that lasts is logged again.
	repeatAfter = time.Hour
)

// A Handler is a [slog.Handler] that drops repeated records and passes the others on to another handler:
//
//   - Of records with the same message, those beyond 200 in a minute are dropped; the first dropped one is replaced by a record
//     that says so. Records that differ in their attribute "action" are counted separately.
//   - A record of level warn or above whose attribute "error" equals that of the component's previous record with this message,
//     and about the same thing, is dropped for an hour, unless the component has logged something below warn since then.
//
// Records of level debug and below are never dropped.
type Handler struct {
	slog.Handler
	componentKeys []string
	component     string // the component's keys and values, or "" for a logger without a component
	counter       *Counter
	errors        *lastErrors
}

// NewHandler returns a handler that passes records on to next. The attributes of a logger with these keys name its component;
// attributes of a record do not. Components are counted separately.
func NewHandler(next slog.Handler, componentKeys ...string) Handler {
	return Handler{
		Handler: next, componentKeys: componentKeys,
		counter: NewCounter(time.Minute), errors: &lastErrors{byComponent: map[string]map[string]loggedError{}},
	}
}

// Handle implements [slog.Handler].
func (h Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level <= slog.LevelDebug {
		return h.Handler.Handle(ctx, r)
	}
	if h.errors.repeats(h.component, r) {
		return nil
	}
	// Reloads must stay visible among runtime changes, which are frequent.
	key := h.component + r.Message + " " + attribute(r, "action")
	switch n, _ := h.counter.Add(key, r.Time); {
	case n > maxPerMinute+1:
		return nil
	case n == maxPerMinute+1:
		notice := slog.NewRecord(r.Time, slog.LevelWarn, "too many similar log lines; dropping more until the minute is over", 0)
		notice.AddAttrs(slog.String("message", r.Message))
		return h.Handler.Handle(ctx, notice)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		if slices.Contains(h.componentKeys, a.Key) {
			h.component += a.Key + "=" + a.Value.String() + " "
		}
	}
	return h
}

// WithGroup implements [slog.Handler].
func (h Handler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// attribute returns the text of the record's attribute with that key, or "".
func attribute(r slog.Record, key string) (text string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			text = a.Value.String()
		}
		return text == ""
	})
	return text
}

// thingKeys are the keys of attributes that say what a record is about. Errors of different things do not mute each other.
var thingKeys = []string{"file", "plugin", "address", "client", "service", "instance", "key"}

// thing returns the record's message and what it is about.
func thing(r slog.Record) string {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if slices.Contains(thingKeys, a.Key) {
			text += " " + a.Key + "=" + a.Value.String()
		}
		return true
	})
	return text
}

// lastErrors are the errors that each component has logged since its last record below warn, by what they are about.
type lastErrors struct {
	mu          sync.Mutex
	byComponent map[string]map[string]loggedError
}

type loggedError struct {
	text string
	at   time.Time
}

// repeats reports whether the component has logged r's message with the same error within repeatAfter, and nothing below warn
// since then. It remembers r otherwise. Loggers without a component have no repeated errors.
func (e *lastErrors) repeats(component string, r slog.Record) bool {
	if component == "" {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Level < slog.LevelWarn {
		delete(e.byComponent, component)
		return false
	}
	text := attribute(r, "error")
	if text == "" {
		return false
	}
	logged := e.byComponent[component]
	if logged == nil {
		logged = map[string]loggedError{}
		e.byComponent[component] = logged
	}
	about := thing(r)
	last, known := logged[about]
	if known && last.text == text && r.Time.Sub(last.at) < repeatAfter {
		return true
	}
	if known || len(logged) < MaxKeys {
		logged[about] = loggedError{text, r.Time}
	}
	return false
}

var _ slog.Handler = Handler{}
