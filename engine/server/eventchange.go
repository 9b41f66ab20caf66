package server

import (
	"slices"
	"strings"

	"github.com/haproxy-api/haproxy-api/engine/history"
)

// maxEventBytes bounds the text of a change in an event.
const maxEventBytes = 32 << 10

// boundedChange returns c without the ends of its lists and texts that exceed maxEventBytes, the size of its text, and whether
// anything is missing. It does not modify the lists of c.
func boundedChange(c history.Change) (bounded history.Change, size int, truncated bool) {
	left := textBudget{bytes: maxEventBytes}
	for _, text := range []*string{
		&c.Digest, &c.Trigger.Kind, &c.Trigger.Detail, &c.Event, &c.Outcome, &c.Action, &c.Reason, &c.Error,
	} {
		*text = left.cut(*text)
	}
	instances := left.texts(c.Instances)
	c.InstancesMore += len(c.Instances) - len(instances)
	c.Instances = instances
	c.Excluded, c.Notes, c.Details = left.texts(c.Excluded), left.texts(c.Notes), left.texts(c.Details)
	c.Steps = take(&left, c.Steps, func(s history.Step) int { return len(s.Name) })
	commands := take(&left, c.Commands, func(c history.Command) int { return len(c.Sent) + len(c.Answer) })
	c.CommandsMore += len(c.Commands) - len(commands)
	c.Commands = commands
	return c, maxEventBytes - left.bytes, left.exceeded
}

// A textBudget is how much text may still be added.
type textBudget struct {
	bytes    int
	exceeded bool
}

// cut returns text, or its beginning if it is too long.
func (b *textBudget) cut(text string) string {
	if len(text) > b.bytes {
		text, b.exceeded = strings.Clone(strings.ToValidUTF8(text[:b.bytes], "")), true
	}
	b.bytes -= len(text)
	return text
}

func (b *textBudget) texts(all []string) []string {
	return take(b, all, func(text string) int { return len(text) })
}

// take returns the first elements of all that fit.
func take[T any](b *textBudget, all []T, size func(T) int) []T {
	const overhead = 16 // of an element in JSON
	for i, element := range all {
		n := size(element) + overhead
		if n > b.bytes {
			b.exceeded = true
			return slices.Clone(all[:i]) // does not keep the memory of the others
		}
		b.bytes -= n
	}
	return all
}
