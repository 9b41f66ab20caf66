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

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/display"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/logging"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/history"
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
		message := logging.JoinLines(inJSON(t, text))
		if json.Unmarshal(objects.Bytes(), &record) != nil || record.Level != "WARN" || record.Msg != message {
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

func TestDisplay_EscapesHostileText(t *testing.T) {
	for _, text := range hostileTexts {
		text = text[:min(len(text), 200)]
		facts, now := map[string]string{text: text}, time.Now()
		excluded := server.Exclusion{Service: text, Instance: text, Hostname: text, Reason: text}
		trigger := history.Trigger{Kind: text, Detail: text}
		change := history.Change{
			Trigger: trigger, Event: text, Outcome: text, Action: text, Reason: text, Error: text, Instances: []string{text},
			Excluded: []string{text}, Notes: []string{text}, Details: []string{text}, Steps: []history.Step{{Name: text}},
			Commands: []history.Command{{Sent: text, Answer: text}},
		}
		applied := change
		applied.Event, applied.Error, applied.Instances = "", "", nil
		reasons := []server.Reason{{Kind: text, State: text, Message: text, Action: text}, {Kind: server.ReasonExcluded},
			{Kind: server.ReasonQuarantined}, {Kind: server.ReasonTemplate, Message: text}}
		status := server.Status{
			State: text, Version: text, Reasons: reasons[:1], Config: server.Configuration{File: text},
			Sources: []server.Source{{Name: text, LastCause: text, LastSender: text, LastSnapshot: &now}},
			Pipelines: []server.Pipeline{{
				Name: text, State: text, Reasons: reasons, Source: text, SourceType: text + "x",
				Templates: []string{text}, Sink: text, SinkType: text + "x", Facts: facts, SourceFacts: facts,
				Notes: []string{text}, Nondeterministic: []string{text},
				TemplateErrorDetail: text + "\n" + text, Excluded: []server.Exclusion{excluded},
				Quarantined: []server.Quarantined{server.Quarantined(excluded)},
				Dropped:     []server.Quarantined{server.Quarantined(excluded)},
				Waiting:     &server.Waiting{Reason: text}, LastChange: &change, LastReload: &applied,
			}},
		}
		for name, show := range map[string]func(*terminal.Page){
			"status": func(p *terminal.Page) { display.ShowStatus(p, display.NewStatus("url", status, text), now) },
			"away": func(p *terminal.Page) {
				display.ShowStatus(p, display.NoStatus("url", display.StateAway, errors.New(text)), now)
			},
			"explain": func(p *terminal.Page) {
				display.Explain(p, display.Change{Pipeline: text, Change: change, Diff: text}, true, now)
			},
			"history": func(p *terminal.Page) {
				display.History(p, []display.Change{{Pipeline: text, Change: change}, {Change: applied}}, now)
			},
		} {
			page := terminal.NewPlainPage(0)
			show(page)
			if strings.ContainsFunc(page.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) ||
				!utf8.ValidString(page.String()) {
				t.Errorf("%s with %.100q has control characters: %.1000q", name, text, page)
			}
			for line := range strings.Lines(page.String()) {
				if strings.HasPrefix(line, "time=") || strings.HasPrefix(line, "level=") {
					t.Errorf("%s with %.100q begins a line with %q", name, text, line)
				}
			}
		}
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
