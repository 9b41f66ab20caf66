package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The limits of what the daemon accepts from a plugin. A faulty plugin can therefore not fill the daemon's memory, log or
// status. Longer texts and longer lists are truncated when they are decoded; a message that is too large is an error of its
// call.
const (
	MaxName      = 64      // bytes of the name and the version of a plugin, of the name of a fact or a step, and of a sender
	MaxText      = 2 << 10 // bytes of a reason, a detail, a problem, a fact, a fault, and of a problem at a position
	MaxError     = 8 << 10 // bytes of an error
	MaxDetails   = 100     // of a result, and of an event
	MaxCommands  = 1000    // of a result, and of an event
	MaxSteps     = 100     // of a result
	MaxServers   = 50_000  // of a sink
	MaxProblems  = 50      // of health
	MaxFacts     = 64      // of health
	MaxFaults    = 100     // of a configuration block
	MaxPositions = 20_000  // of a rejection
)

// Text returns s with invalid UTF-8 replaced, since a protobuf string must be valid UTF-8 and the texts of programs and
// registries may not be.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Truncate returns s, or its beginning and an ellipsis where s is longer than limit bytes. It does not cut a character in two.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func encodeTexts(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, Text(s))
	}
	return out
}

// decodeTexts returns at most limit elements of list. Where there are more, a last element says how many are missing.
func decodeTexts(list []string, limit int) []string {
	var out []string
	for _, s := range list[:min(len(list), limit)] {
		out = append(out, Truncate(s, MaxText))
	}
	if more := len(list) - limit; more > 0 {
		out = append(out, strconv.Itoa(more)+" more")
	}
	return out
}

func encodeTextMap(table map[string]string) map[string]string {
	if table == nil {
		return nil
	}
	out := make(map[string]string, len(table))
	for key, value := range table {
		out[Text(key)] = Text(value)
	}
	return out
}
