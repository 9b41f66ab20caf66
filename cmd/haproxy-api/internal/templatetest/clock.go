package main

import (
	"bytes"
	"time"
)

// otherTimes returns times of which one at least differs from at in whatever a template may make of a time: the second is
// there for the weekday, and for the half of the day.
func otherTimes(at time.Time) []time.Time {
	later := at.AddDate(1, 1, 1).Add(time.Hour + time.Minute + time.Second + time.Millisecond)
	return []time.Time{later, later.Add(36 * time.Hour)}
}

// settleClock returns text with the times that it tells as live has them. Which of its lines tell the time of the rendering
// shows in others, which are the same text of other times.
func settleClock(text []byte, others [][]byte, live []byte) []byte {
	lines, rest := bytes.Split(text, newline), bytes.Split(live, newline)
	var versions [][][]byte
	for _, other := range others {
		versions = append(versions, bytes.Split(other, newline))
		if len(versions[len(versions)-1]) != len(lines) {
			return text
		}
	}
	for i := range lines {
		told := clockWords(lines[i], versions, i)
		if told == nil {
			continue
		}
		for at, candidate := range rest {
			if told.fit(candidate) {
				lines[i], rest = candidate, rest[at+1:]
				break
			}
		}
	}
	return bytes.Join(lines, newline)
}

var newline = []byte("\n")

// A clockLine is the words of a line that tells the time; those that do are nil.
type clockLine [][]byte

// clockWords returns nil where the line, of that number, is the same at all times.
func clockWords(line []byte, versions [][][]byte, number int) clockLine {
	words := bytes.Fields(line)
	tells := false
	for _, version := range versions {
		now := bytes.Fields(version[number])
		if len(now) != len(words) {
			return nil
		}
		for i, word := range now {
			if words[i] != nil && !bytes.Equal(words[i], word) {
				words[i], tells = nil, true
			}
		}
	}
	if !tells {
		return nil
	}
	return words
}

// fit reports whether line is the same but for the time that it tells. A time has a digit in it: without that a line of
// nothing but the time would be like any other.
func (c clockLine) fit(line []byte) bool {
	words := bytes.Fields(line)
	if len(words) != len(c) {
		return false
	}
	digit := false
	for i, word := range words {
		if c[i] != nil && !bytes.Equal(c[i], word) {
			return false
		}
		digit = digit || c[i] == nil && bytes.ContainsAny(word, "0123456789")
	}
	return digit
}
