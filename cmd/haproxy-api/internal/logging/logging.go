// Package logging makes the daemon's logger. Most of what the daemon logs originates from others, so each record is one line
// without secrets and control characters, and repeated records are dropped.
package logging

import (
	"io"
	"log/slog"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// New returns a logger that writes to w in the format "text" or "json".
func New(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	if format == "json" {
		handler = slog.NewJSONHandler(recordWriter{w, func(record []byte) []byte {
			return engine.PrintableJSON(engine.MaskedJSON(record))
		}}, opts)
	} else {
		opts.ReplaceAttr = joinAttrLines
		handler = slog.NewTextHandler(recordWriter{w, func(record []byte) []byte {
			return []byte(engine.Printable(engine.MaskedLine(string(record))))
		}}, opts)
	}
	return slog.New(logdedup.NewHandler(handler, "pipeline", "sink", "source"))
}

// joinAttrLines joins the lines of an attribute, which the text format would show with "\n" between them.
func joinAttrLines(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(JoinLines(v))
	case error:
		a.Value = slog.StringValue(JoinLines(v.Error()))
	}
	return a
}

// JoinLines returns the non-empty lines of a text on one line, with "; " between them.
func JoinLines(text string) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
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
