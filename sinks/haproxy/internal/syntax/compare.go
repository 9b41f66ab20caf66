package syntax

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Change is the difference between two configurations.
type Change struct {
	Reload  string   // why HAProxy has to load the second one; empty if it need not
	Servers []string // the backends whose servers differ; complete only if Reload is empty
	Reason  string   // what differs, human-readable; empty if nothing does
}

// Compare returns what has to change in a HAProxy that runs before, so that it runs after.
func Compare(before, after *Config) Change {
	var c Change
	if reason := differentSections(before.sections, after.sections); reason != "" {
		return Change{Reload: reason, Reason: reason}
	}
	sameDefaults := true
	var reloads, changes []string
	for i, now := range after.sections {
		was := before.sections[i]
		if now.section == was.section && (sameDefaults || !now.hasServers()) {
			continue
		}
		if now.section != was.section && now.kind == "defaults" && !slices.Equal(was.lines, now.lines) {
			sameDefaults = false
		}
		if reason := differentSettings(was, now); reason != "" {
			reloads = append(reloads, reason)
			continue
		}
		if !now.hasServers() {
			continue
		}
		d := compareServers(before, after, was, now)
		reloads = append(reloads, d.reloads...)
		changes = append(changes, d.changes...)
		if len(d.changes) > 0 {
			c.Servers = append(c.Servers, now.name)
		}
	}
	c.Reload, c.Reason = few(reloads), few(append(reloads, changes...))
	return c
}

// manyReasons is how many reasons a message lists.
const manyReasons = 3

func few(reasons []string) string {
	if more := len(reasons) - manyReasons; more > 0 {
		return fmt.Sprintf("%s (and %d more)", strings.Join(reasons[:manyReasons], "; "), more)
	}
	return strings.Join(reasons, "; ")
}

func differentSections(before, after []*entry) string {
	if slices.EqualFunc(before, after, func(a, b *entry) bool { return a.section == b.section || a.title() == b.title() }) {
		return ""
	}
	was, is := titles(before), titles(after)
	var reasons []string
	for _, added := range without(is, was) {
		reasons = append(reasons, added+" added")
	}
	for _, removed := range without(was, is) {
		reasons = append(reasons, removed+" removed")
	}
	if len(reasons) == 0 && !slices.Equal(was, is) {
		return "the order of sections changed: " + firstMoved(was, is)
	}
	return few(reasons)
}

// firstMoved names the first of two lists with the same elements in another order that is at another place.
func firstMoved(before, after []string) string {
	for i, line := range after {
		if before[i] != line {
			return clip(line) + " now comes before " + clip(before[i])
		}
	}
	return ""
}

func titles(sections []*entry) []string {
	all := make([]string, 0, len(sections))
	for _, s := range sections {
		all = append(all, s.title())
	}
	return all
}

// without returns the elements that are in list more often than in other.
func without(list, other []string) []string {
	left := make(map[string]int, len(other))
	for _, s := range other {
		left[s]++
	}
	var rest []string
	for _, s := range list {
		if left[s]--; left[s] < 0 {
			rest = append(rest, s)
		}
	}
	return rest
}

// differentSettings compares everything except the server lines of backends. If a conditional block decides which lines count, it
// compares all lines.
func differentSettings(was, now *entry) string {
	condition := cmp.Or(now.condition, was.condition)
	old, is := settings(was, condition != ""), settings(now, condition != "")
	if slices.Equal(old, is) {
		return ""
	}
	var reasons []string
	added, removed := without(is, old), without(old, is)
	for i, line := range added {
		if i < len(removed) && firstWord(removed[i]) == firstWord(line) {
			reasons = append(reasons, fmt.Sprintf("%s changed to %s", clip(removed[i]), clip(line)))
			continue
		}
		reasons = append(reasons, clip(line)+" added")
	}
	for i, line := range removed {
		if i >= len(added) || firstWord(added[i]) != firstWord(line) {
			reasons = append(reasons, clip(line)+" removed")
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"the order of lines changed: " + firstMoved(old, is)}
	}
	reason := now.title() + ": " + few(reasons)
	if condition != "" && now.hasServers() {
		reason += ", and the line " + clip(condition) + " decides which lines count"
	}
	return reason
}

func settings(e *entry, all bool) []string {
	lines := []string{e.header}
	for _, line := range e.lines {
		if !e.hasServers() || all || firstWord(line) != "server" {
			lines = append(lines, line)
		}
	}
	return lines
}

// longestShown bounds a line of the configuration in a message, in bytes.
const longestShown = 100

func clip(line string) string {
	if len(line) <= longestShown {
		return line
	}
	return strings.ToValidUTF8(line[:longestShown], "") + "…"
}
