// Package logging makes the daemon's logger. Most of what the daemon logs originates from others, so each record is one line
// without secrets and control characters, and repeated records are dropped.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// New returns a logger that writes to w in the format "text" or "json".
func New(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	if format == "json" {
		opts.ReplaceAttr = splitLines
		handler = slog.NewJSONHandler(recordWriter{w, func(record []byte) []byte {
			return engine.PrintableJSON(engine.MaskedJSON(record))
		}}, opts)
	} else {
		opts.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr { return joinList(splitLines(groups, a)) }
		handler = slog.NewTextHandler(recordWriter{w, func(record []byte) []byte {
			return []byte(engine.Printable(engine.MaskedLine(string(record))))
		}}, opts)
	}
	return slog.New(logdedup.NewHandler(handler, "pipeline", "sink", "source"))
}

// splitLines splits an error with several lines: the attribute keeps the first line, and the others become the list error_lines.
// It joins the lines of any other text, and writes durations as text.
func splitLines(groups []string, a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	case time.Duration: // JSON would have a number of nanoseconds
		return slog.String(a.Key, v.String())
	}
	if !strings.Contains(text, "\n") {
		return a
	}
	if lines := linesOf(text); len(groups) == 0 && a.Key == "error" && len(lines) > 1 {
		// The attributes of a group without a key are those of the record.
		return slog.Group("", slog.String(a.Key, lines[0]), slog.Any("error_lines", lines[1:]))
	}
	return slog.String(a.Key, JoinLines(text))
}

// joinList joins the elements of a list, which the text format would separate only by spaces.
func joinList(a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case []string:
		a.Value = slog.StringValue(JoinLines(strings.Join(v, "; ")))
	case []any: // of a plugin
		texts := make([]string, len(v))
		for i, element := range v {
			texts[i] = fmt.Sprint(element)
		}
		a.Value = slog.StringValue(JoinLines(strings.Join(texts, "; ")))
	}
	return a
}

// JoinLines returns the non-empty lines of a text on one line, with "; " between them.
func JoinLines(text string) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	return strings.Join(linesOf(text), "; ")
}

// linesOf returns the non-empty lines of a text without the space around them.
func linesOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// A recordWriter sanitizes each record and writes it. slog writes a record with one call of Write.
type recordWriter struct {
	io.Writer
	sanitize func([]byte) []byte
}

func (w recordWriter) Write(record []byte) (int, error) {
	if _, err := w.Writer.Write(w.sanitize(record)); err != nil {
		return 0, err
	}
	return len(record), nil
}
