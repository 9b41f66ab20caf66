package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/logging"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// hostileTexts try to forge log records, or to control a terminal.
var hostileTexts = []string{
	"x\ntime=2026-01-01T00:00:00.000Z level=ERROR msg=forged", "x\r\nlevel=error msg=forged", "x\" level=ERROR msg=\"forged",
	"x\"},{\"level\":\"ERROR\",\"msg\":\"forged\"}\n{\"level\":\"ERROR\",\"msg\":\"forged\"}",
	"x\x1b[2J\x1b[31mforged", "x\x1b]0;forged\a", "x\u009b2Jforged", "x\x7f\b\b\bforged", "x\u2028level=ERROR\u2029forged",
	"x\u202edegrof", "x\u200b\ufeff\U000e0041forged", "x\xff\xfe\xc0\xafforged", "x\x00forged", "x\v\fforged\u0085forged",
	strings.Repeat("forged\n", 150_000),
}

// wantLines checks that out has n lines of printable characters.
func wantLines(t *testing.T, out string, n int) {
	t.Helper()
	if got := strings.Count(out, "\n"); got != n || !strings.HasSuffix(out, "\n") {
		t.Errorf("%d lines, want %d: %.300q", got, n, out)
	}
	if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("control characters in %.300q", out)
	}
}

func TestLog_EscapesHostileText(t *testing.T) {
	for _, text := range hostileTexts {
		var lines, objects bytes.Buffer
		for out, format := range map[*bytes.Buffer]string{&lines: "text", &objects: "json"} {
			log := logging.New(out, format, slog.LevelInfo).With("source", text)
			log.Warn(text, "error", errors.New(text), text, text, "any", map[string]any{text: text}, slog.Group(text, text, text))
			wantLines(t, out.String(), 1)
		}
		if strings.Contains(strings.ReplaceAll(lines.String(), `\"`, ""), "level=ERROR msg=\"forged") {
			t.Errorf("%.100q became %.300q", text, &lines)
		}
		var record struct{ Level, Msg string }
		if json.Unmarshal(objects.Bytes(), &record) != nil || record.Level != "WARN" || record.Msg != logging.JoinLines(inJSON(t, text)) {
			t.Errorf("%.100q became %.300q", text, &objects)
		}
	}
}

// inJSON returns text after encoding and decoding it, which replaces invalid UTF-8.
func inJSON(t *testing.T, text string) (decoded string) {
	t.Helper()
	content, err := json.Marshal(text)
	if err = errors.Join(err, json.Unmarshal(content, &decoded)); err != nil {
		t.Fatal(err)
	}
	return decoded
}

func TestStatus_EscapesHostileText(t *testing.T) {
	for _, text := range hostileTexts {
		var out bytes.Buffer
		facts := map[string]string{text: text}
		excluded := server.Exclusion{Service: text, Instance: text, Hostname: text, Reason: text}
		showPipeline(&out, server.Pipeline{
			Name: text, Source: text, Problems: []string{text}, Facts: facts, SourceProblems: []string{text}, SourceFacts: facts,
			TemplateError: text, Notes: []string{text}, Nondeterministic: []string{text}, Excluded: []server.Exclusion{excluded},
			Quarantined: []server.Quarantined{server.Quarantined(excluded)}, QuarantinedCount: 2,
			Dropped: []server.Quarantined{server.Quarantined(excluded)}, DroppedCount: 2,
			Waiting: &server.Waiting{Reason: text}, Held: &server.Held{Reason: text}, Since: &time.Time{},
			Last: &server.LastApply{Action: text, Reason: text, Trigger: text},
		})
		wantLines(t, out.String(), 17)
	}
}

// An error may have several lines, but no control characters.
func TestReport_EscapesHostileText(t *testing.T) {
	for _, text := range hostileTexts {
		var out bytes.Buffer
		report(&out, errors.New(text))
		lines := strings.Count(text, "\n") + 1
		wantLines(t, strings.ReplaceAll(out.String(), "\t", ""), lines)
		wantLines(t, engine.OneLine(text)+"\n", 1)
	}
}
