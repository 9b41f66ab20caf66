package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

const (
	maxLogLine  = 8 << 10   // bytes of a line of a plugin's log; a longer one arrives in pieces
	maxLogLines = 500       // lines in logWindow
	maxLogBytes = 256 << 10 // bytes in logWindow
	logWindow   = 10 * time.Second
)

// logWriter brings what a plugin writes to its standard error into the daemon's log: JSON lines as log/slog or hclog write
// them with level and fields, anything else as it stands. Nothing in such a line is trusted.
type logWriter struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte
	began   time.Time // of the window in which lines are counted
	lines   int       // in it
	bytes   int       // in it
	dropped int       // of the lines in it
	crashed bool      // a line says that the program ends, and what follows says why
	last    string    // the line that says so, or else the newest one
}

// Write never fails: a plugin's log is no reason to end the plugin.
func (w *logWriter) Write(content []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, content...)
	for {
		end := bytes.IndexByte(w.partial[:min(len(w.partial), maxLogLine+1)], '\n')
		switch {
		case end >= 0:
			w.line(w.partial[:end])
			w.partial = w.partial[end+1:]
		case len(w.partial) >= maxLogLine:
			w.line(w.partial[:maxLogLine])
			w.partial = w.partial[maxLogLine:]
		default:
			w.partial = bytes.Clone(w.partial) // lets go of the lines before
			return len(content), nil
		}
	}
}

func (w *logWriter) line(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	begins := !w.crashed && (bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")))
	if begins || !w.crashed {
		w.last = wire.Truncate(string(bytes.ToValidUTF8(line, []byte("?"))), wire.MaxText)
	}
	w.crashed = w.crashed || begins
	if w.flooded(time.Now(), len(line)) {
		return
	}
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil || fields == nil {
		level := slog.LevelInfo
		if w.crashed {
			level = slog.LevelError
		}
		w.log.Log(context.Background(), level, string(line))
		return
	}
	level := levelOf(text(fields, "level", "@level"))
	if !w.log.Enabled(context.Background(), level) {
		return
	}
	message := text(fields, "msg", "@message")
	record := slog.NewRecord(time.Now(), level, message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "time" && key != "@timestamp" {
			record.AddAttrs(slog.Any(attribute(key), fields[key]))
		}
	}
	_ = w.log.Handler().Handle(context.Background(), record)
}

// lastLine returns the line that says why the program ended, or else the newest one.
func (w *logWriter) lastLine() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.last, "it has written nothing to its log")
}

// attribute returns the key for a plugin's field. Those that the daemon gives a record itself are told apart from it, so that a
// plugin cannot pass for another one.
func attribute(key string) string {
	switch key {
	case slog.LevelKey, slog.MessageKey, slog.SourceKey, "sink", "pipeline":
		return "plugin_" + key
	}
	return key
}

// flooded counts a line and reports whether it is one too many. It says so once in a window, with the first that is dropped:
// there may never be another line.
func (w *logWriter) flooded(now time.Time, size int) bool {
	if now.Sub(w.began) >= logWindow || now.Before(w.began) {
		if w.dropped > 0 {
			w.log.Info("the plugin's lines are logged again", "dropped", w.dropped)
		}
		w.began, w.lines, w.bytes, w.dropped = now, 0, 0, 0
	}
	w.lines++
	w.bytes += size
	if w.lines <= maxLogLines && w.bytes <= maxLogBytes {
		return false
	}
	if w.dropped++; w.dropped == 1 {
		w.log.Warn("the plugin writes too many lines at once; they are dropped for some seconds", "seconds", logWindow.Seconds())
	}
	return true
}

// text removes the first of keys that holds text and returns it.
func text(fields map[string]any, keys ...string) string {
	for _, key := range keys {
		if value, ok := fields[key].(string); ok {
			delete(fields, key)
			return value
		}
	}
	return ""
}

func levelOf(name string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(name))); err != nil {
		if strings.EqualFold(name, "trace") {
			return slog.LevelDebug
		}
		return slog.LevelInfo
	}
	return level
}
