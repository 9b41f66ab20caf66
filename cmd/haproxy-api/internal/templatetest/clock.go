package templatetest

import (
	"bytes"
	"time"
)

// otherTimes returns times such that at least one of them differs from at in any part of a time that a template can print. The
// second one differs in the weekday and in the half of the day.
func otherTimes(at time.Time) []time.Time {
	later := at.AddDate(1, 1, 1).Add(time.Hour + time.Minute + time.Second + time.Millisecond)
	return []time.Time{later, later.Add(36 * time.Hour)}
}

// replaceTimes returns text with each line that prints the time of the rendering replaced by the line of live that differs from
// it only in the time. Others are the same text rendered at other times; the lines in which they differ print the time.
func replaceTimes(text []byte, others [][]byte, live []byte) []byte {
	lines, liveLines := bytes.Split(text, newline), bytes.Split(live, newline)
	var versions [][][]byte
	for _, other := range others {
		version := bytes.Split(other, newline)
		if len(version) != len(lines) {
			return text
		}
		versions = append(versions, version)
	}
	for i := range lines {
		pattern := newTimePattern(lines[i], versions, i)
		if pattern == nil {
			continue
		}
		for n, candidate := range liveLines {
			if pattern.matches(candidate) {
				lines[i], liveLines = candidate, liveLines[n+1:]
				break
			}
		}
	}
	return bytes.Join(lines, newline)
}

var newline = []byte("\n")

// A timePattern is the words of a line that prints the time. The words that depend on the time are nil.
type timePattern [][]byte

// newTimePattern returns the pattern of line, which is number i of each version. It returns nil if the line is the same at all
// times.
func newTimePattern(line []byte, versions [][][]byte, i int) timePattern {
	words := bytes.Fields(line)
	depends := false
	for _, version := range versions {
		others := bytes.Fields(version[i])
		if len(others) != len(words) {
			return nil
		}
		for n, word := range others {
			if words[n] != nil && !bytes.Equal(words[n], word) {
				words[n], depends = nil, true
			}
		}
	}
	if !depends {
		return nil
	}
	return words
}

// matches reports whether line differs from the pattern only in the time. A time has a digit; without this condition a line that
// consists of the time only would match every line.
func (p timePattern) matches(line []byte) bool {
	words := bytes.Fields(line)
	if len(words) != len(p) {
		return false
	}
	digit := false
	for i, word := range words {
		if p[i] != nil && !bytes.Equal(p[i], word) {
			return false
		}
		digit = digit || p[i] == nil && bytes.ContainsAny(word, "0123456789")
	}
	return digit
}
