package history

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// MaxCommands is how many commands an entry has.
const MaxCommands = 100

// The other bounds of one entry. Texts are in bytes.
const (
	maxText     = 2000 // one text
	maxLine     = 500  // one element of a list, such as a command
	maxLines    = 50   // of Instances and Details
	maxListed   = 100  // of Excluded and Notes
	maxSteps    = 50
	maxDigest   = 64
	baseSize    = 400 // of an entry without texts, in memory
	elementSize = 40  // of an element of a list, without its text
)

// bounded returns c with everything shortened that exceeds the bounds. It does not modify the lists of c.
func bounded(c Change) Change {
	for _, text := range []*string{&c.Reason, &c.Error} {
		*text = shortened(*text, maxText)
	}
	for _, word := range []*string{&c.Trigger.Kind, &c.Trigger.Detail, &c.Event, &c.Outcome, &c.Action} {
		*word = shortened(*word, maxLine)
	}
	for _, t := range []*time.Time{&c.Received, &c.Updated} {
		if *t = t.UTC(); t.Year() < 1 || t.Year() > 9999 { // not for JSON
			*t = time.Time{}
		}
	}
	c.Digest = c.Digest[:min(len(c.Digest), maxDigest)]
	if more := len(c.Instances) - maxLines; more > 0 {
		c.Instances, c.InstancesMore = c.Instances[:maxLines], c.InstancesMore+more
	}
	c.Instances = boundedList(c.Instances, maxLines)
	c.Details = boundedList(c.Details, maxLines)
	c.Excluded, c.Notes = boundedList(c.Excluded, maxListed), boundedList(c.Notes, maxListed)
	if more := len(c.Commands) - MaxCommands; more > 0 {
		c.Commands, c.CommandsMore = c.Commands[:MaxCommands], c.CommandsMore+more
	}
	var commands []Command
	for _, command := range c.Commands {
		commands = append(commands, Command{shortened(command.Sent, maxLine), shortened(command.Answer, maxLine)})
	}
	var steps []Step
	for _, step := range c.Steps[:min(len(c.Steps), maxSteps)] {
		step.Name = shortened(step.Name, maxLine)
		steps = append(steps, step)
	}
	c.Commands, c.Steps = commands, steps
	return c
}

// boundedList returns the first n elements of list, and one that says how many more there are if that is not the only other one.
func boundedList(list []string, n int) []string {
	var out []string
	for i, line := range list {
		if more := len(list) - n; i == n && more > 1 {
			return append(out, fmt.Sprintf("and %d more", more))
		}
		out = append(out, shortened(line, maxLine))
	}
	return out
}

const ellipsis = "…"

// shortened returns text, or its beginning with an ellipsis if it has more than n bytes. It does not divide a character.
func shortened(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n -= len(ellipsis)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + ellipsis
}

// sizeOf returns about how much memory c takes.
func sizeOf(c Change) int {
	size := baseSize + len(c.Trigger.Detail) + len(c.Reason) + len(c.Error) + elementSize*len(c.Steps)
	for _, list := range [][]string{c.Instances, c.Excluded, c.Notes, c.Details} {
		for _, line := range list {
			size += elementSize + len(line)
		}
	}
	for _, command := range c.Commands {
		size += elementSize + len(command.Sent) + len(command.Answer)
	}
	return size
}
