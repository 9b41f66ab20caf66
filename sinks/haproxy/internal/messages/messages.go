// Package messages interprets what HAProxy writes to its log and to standard error: levels, alerts, and the lines of a
// configuration that the alerts are about.
//
// It must not know how the messages were obtained: from a check, from a start, or from the master socket.
package messages

import (
	"fmt"
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/sinks/internal/program"
)

// maxQuoted bounds how many lines an error quotes.
const maxQuoted = 6

// Lines returns the lines that HAProxy logged, without its notices about itself. A line reads "[ALERT]    (15110) : text", and
// "[ALERT] 325/140250 (15110) : text" in older versions.
func Lines(log string) []string {
	return slices.DeleteFunc(program.Lines(log), func(line string) bool {
		level, _ := splitLevel(line)
		return level == "NOTICE"
	})
}

// Alerts returns the texts of the alerts in a log, without a final full stop.
func Alerts(log string) []string { return withLevel("ALERT", log) }

// Warnings returns the texts of the warnings in a log, without a final full stop.
func Warnings(log string) []string { return withLevel("WARNING", log) }

func withLevel(level, log string) []string {
	var texts []string
	for _, line := range program.Lines(log) {
		if l, text := splitLevel(line); l == level {
			texts = append(texts, strings.TrimSuffix(text, "."))
		}
	}
	return texts
}

func splitLevel(line string) (level, text string) {
	if !strings.HasPrefix(line, "[") {
		return "", line
	}
	level, rest, found := strings.Cut(line[1:], "]")
	if !found {
		return "", line
	}
	if _, text, found := strings.Cut(rest, ") : "); found {
		return level, text
	}
	return level, strings.TrimSpace(rest)
}

// Causes returns why HAProxy failed to load a configuration: its alerts or, if there are none, how its processes ended.
func Causes(log []string) []string {
	text := strings.Join(log, "\n")
	alerts := slices.DeleteFunc(Alerts(text), func(line string) bool {
		return strings.HasPrefix(line, "exit-on-failure:") // follows from a process that ended
	})
	if len(alerts) > 0 {
		return alerts
	}
	return Ends(log)
}

// Ends returns how HAProxy's processes ended by themselves. Workers that were replaced before do not count.
func Ends(log []string) []string {
	text := strings.Join(log, "\n")
	return slices.DeleteFunc(slices.Concat(Alerts(text), Warnings(text)), func(line string) bool {
		return !strings.Contains(line, "exited with code") || strings.HasPrefix(line, "Former worker")
	})
}

// Quote joins the first few lines for an error.
func Quote(lines []string) string {
	if len(lines) > maxQuoted {
		lines = append(lines[:maxQuoted:maxQuoted], fmt.Sprintf("(%d more)", len(lines)-maxQuoted))
	}
	return strings.Join(lines, "; ")
}

// Summary condenses the output of a program that failed for an error: HAProxy's alerts or, if there are none, the last lines.
func Summary(o program.Outcome) string {
	lines := Alerts(o.Output)
	if len(lines) == 0 {
		lines = program.Lines(o.Output)
		lines = lines[max(0, len(lines)-maxQuoted):]
	}
	if len(lines) == 0 {
		return fmt.Sprintf("it ended with exit code %d and without output", o.Code)
	}
	return Quote(lines)
}
