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
	maxLogLine  = 8 << 10   // bytes of a line of a plugin's log; a longer one is divided
	maxLogLines = 500       // lines in logWindow
	maxLogBytes = 256 << 10 // bytes in logWindow
	logWindow   = 10 * time.Second
)

// logWriter writes a plugin's standard error to the daemon's log: JSON lines of log/slog or hclog with level and fields, and
// any other line as a message. It trusts nothing in a line, and limits their rate.
type logWriter struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte
	began   time.Time // of the window in which lines are counted
	lines   int       // in the window
	bytes   int       // in the window
	dropped int       // lines in the window
	crashed bool      // a line started a panic or a fatal error, which the following lines explain
	last    string    // that line, or else the newest one
}

// Write never returns an error: a plugin must not end because of its log.
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
			w.partial = bytes.Clone(w.partial) // releases the memory of the lines before
			return len(content), nil
		}
	}
}

func (w *logWriter) line(line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	crashes := !w.crashed && (bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")))
	if crashes || !w.crashed {
		w.last = wire.Truncate(string(bytes.ToValidUTF8(line, []byte("?"))), wire.MaxText)
	}
	w.crashed = w.crashed || crashes
	if !w.allow(time.Now(), len(line)) {
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
	level := parseLevel(removeText(fields, "level", "@level"))
	if !w.log.Enabled(context.Background(), level) {
		return
	}
	message := removeText(fields, "msg", "@message")
	record := slog.NewRecord(time.Now(), level, message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "time" && key != "@timestamp" {
			record.AddAttrs(slog.Any(attributeKey(key), fields[key]))
		}
	}
	_ = w.log.Handler().Handle(context.Background(), record)
}

// lastLine returns the line that says why the program ended, or else the newest line.
func (w *logWriter) lastLine() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.last, "it has written nothing to its log")
}

// attributeKey returns the key for a plugin's field. Keys that the daemon itself sets get a prefix, so that a plugin cannot
// imitate another one.
func attributeKey(key string) string {
	switch key {
	case slog.LevelKey, slog.MessageKey, slog.SourceKey, "sink", "pipeline", "error_lines":
		return "plugin_" + key
	}
	return key
}

// allow counts a line and reports whether it is within the rate limit. It logs the limit with the first line that is dropped
// in a window, since there may not be another line.
func (w *logWriter) allow(now time.Time, size int) bool {
	if now.Sub(w.began) >= logWindow || now.Before(w.began) {
		if w.dropped > 0 {
			w.log.Info("plugin log lines are no longer dropped", "dropped", w.dropped)
		}
		w.began, w.lines, w.bytes, w.dropped = now, 0, 0, 0
	}
	w.lines++
	w.bytes += size
	if w.lines <= maxLogLines && w.bytes <= maxLogBytes {
		return true
	}
	if w.dropped++; w.dropped == 1 {
		w.log.Warn("plugin writes too many log lines, dropping them", "seconds", logWindow.Seconds())
	}
	return false
}

// removeText removes the first of keys whose value is a string from fields, and returns the value.
func removeText(fields map[string]any, keys ...string) string {
	for _, key := range keys {
		if value, ok := fields[key].(string); ok {
			delete(fields, key)
			return value
		}
	}
	return ""
}

func parseLevel(name string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(name))); err != nil {
		if strings.EqualFold(name, "trace") {
			return slog.LevelDebug
		}
		return slog.LevelInfo
	}
	return level
}
