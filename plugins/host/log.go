package host

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxLogLine bounds one line of a plugin's log, in bytes; a longer one arrives in pieces.
	maxLogLine = 8 << 10
	// maxLogLines bounds the lines in a second: a plugin that floods its log must not fill the daemon's disk.
	maxLogLines = 200
)

// logWriter brings what a plugin writes to its standard error into the daemon's log: JSON lines as log/slog or hclog write
// them with level and fields, anything else as it stands. Nothing in such a line is trusted.
type logWriter struct {
	log *slog.Logger

	mu      sync.Mutex
	partial []byte
	second  time.Time // the second in which lines are being counted
	lines   int       // in that second
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
	if len(bytes.TrimSpace(line)) == 0 || w.flooded(time.Now()) {
		return
	}
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil || fields == nil {
		w.log.Info(string(line))
		return
	}
	level := levelOf(take(fields, "level", "@level"))
	if !w.log.Enabled(context.Background(), level) {
		return
	}
	message := take(fields, "msg", "@message")
	record := slog.NewRecord(time.Now(), level, message, 0)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "time" && key != "@timestamp" {
			record.AddAttrs(slog.Any(attribute(key), fields[key]))
		}
	}
	_ = w.log.Handler().Handle(context.Background(), record)
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

// flooded counts a line and reports whether it is one too many. It says so once a second, with the first that is dropped: there
// may never be another line.
func (w *logWriter) flooded(now time.Time) bool {
	if second := now.Truncate(time.Second); second != w.second {
		w.second, w.lines = second, 0
	}
	w.lines++
	if w.lines == maxLogLines+1 {
		w.log.Warn("the plugin writes too many lines at once; the rest of this second's are dropped")
	}
	return w.lines > maxLogLines
}

// take removes the first of keys that holds text and returns it.
func take(fields map[string]any, keys ...string) string {
	for _, key := range keys {
		if text, ok := fields[key].(string); ok {
			delete(fields, key)
			return text
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
