package syntax

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Change is what separates two configurations.
type Change struct {
	Reload  string   // why HAProxy has to load the second one; empty if it need not
	Servers []string // the backends whose servers differ; meant to be complete only where Reload is empty
	Reason  string   // what differs, for people; empty for nothing
}

// Compare says what has to be done about a HAProxy that runs before to make it run after.
func Compare(before, after *Config) Change {
	var c Change
	if reason := differentSections(before.sections, after.sections); reason != "" {
		return Change{Reload: reason, Reason: reason}
	}
	conditional := before.conditional() || after.conditional()
	sameDefaults := true
	var reloads, changes []string
	for i, now := range after.sections {
		was := before.sections[i]
		if now == was && (sameDefaults || !now.hasServers()) {
			continue
		}
		if now != was && now.kind == "defaults" && !slices.Equal(was.lines, now.lines) {
			sameDefaults = false
		}
		if reason := differentSettings(was, now, conditional); reason != "" {
			reloads = append(reloads, reason)
			continue
		}
		if !now.hasServers() {
			continue
		}
		d := compareServers(before, after, now.name)
		reloads = append(reloads, d.reloads...)
		changes = append(changes, d.changes...)
		if len(d.changes) > 0 {
			c.Servers = append(c.Servers, now.name)
		}
	}
	c.Reload, c.Reason = few(reloads), few(append(reloads, changes...))
	return c
}

// manyReasons is how many reasons a sentence can carry.
const manyReasons = 3

func few(reasons []string) string {
	if more := len(reasons) - manyReasons; more > 0 {
		return fmt.Sprintf("%s (and %d more)", strings.Join(reasons[:manyReasons], "; "), more)
	}
	return strings.Join(reasons, "; ")
}

func differentSections(before, after []*section) string {
	was, is := titles(before), titles(after)
	var reasons []string
	for _, added := range without(is, was) {
		reasons = append(reasons, added+" added")
	}
	for _, removed := range without(was, is) {
		reasons = append(reasons, removed+" removed")
	}
	if len(reasons) == 0 && !slices.Equal(was, is) {
		return "the order of sections changed"
	}
	return few(reasons)
}

func titles(sections []*section) []string {
	all := make([]string, 0, len(sections))
	for _, s := range sections {
		all = append(all, s.title())
	}
	return all
}

// without returns what is in list more often than in other.
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

// differentSettings compares everything but the server lines of backends.
//
// Conditions may be around servers, so with them every line counts.
func differentSettings(was, now *section, conditional bool) string {
	old, is := settings(was, conditional), settings(now, conditional)
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
		reasons = []string{"the order of lines changed"}
	}
	return now.title() + ": " + few(reasons)
}

func settings(s *section, conditional bool) []string {
	all := []string{s.header}
	for _, line := range s.lines {
		if !s.hasServers() || conditional || firstWord(line) != "server" {
			all = append(all, line)
		}
	}
	return all
}

// longestShown bounds a line of the configuration inside a sentence, in bytes.
const longestShown = 100

func clip(line string) string {
	if len(line) <= longestShown {
		return line
	}
	return strings.ToValidUTF8(line[:longestShown], "") + "…"
}

// serverChanges are what separates the servers of one backend.
type serverChanges struct{ reloads, changes []string }

func compareServers(before, after *Config, name string) serverChanges {
	was, now := before.Backend(name), after.Backend(name)
	var d serverChanges
	reload := func(format string, args ...any) {
		d.reloads = append(d.reloads, "backend "+name+": "+fmt.Sprintf(format, args...))
	}
	change := func(format string, args ...any) {
		d.changes = append(d.changes, "backend "+name+": "+fmt.Sprintf(format, args...))
	}
	if slices.Equal(was.Servers, now.Servers) {
		return d
	}
	switch {
	case was.ambiguous() || now.ambiguous():
		reload("a name is used by two servers")
		return d
	case now.closed != "":
		reload("its servers differ, and %s", now.closed)
		return d
	}
	for _, s := range now.Servers {
		old, stood := was.Server(s.Name)
		if !stood {
			if reason := whyNotAdded(after, now, s); reason != "" {
				reload("server %s added, and %s", s.Name, reason)
			} else {
				change("server %s added", s.Name)
			}
		} else if reason := whyNotSet(now, old, s); reason != "" {
			reload("server %s: %s", s.Name, reason)
		} else if what := settable(old, s); what != "" {
			change("server %s: %s", s.Name, what)
		}
	}
	for _, s := range was.Servers {
		if _, stands := now.Server(s.Name); stands {
			continue
		}
		switch {
		case now.fixed != "":
			reload("server %s removed, and %s", s.Name, now.fixed)
		case before.names(name, s.Name):
			reload("server %s removed, and something else refers to it", s.Name)
		default:
			change("server %s removed", s.Name)
		}
	}
	if len(d.reloads) == 0 && !now.spreads() && !slices.Equal(order(was), order(now)) {
		reload("the order of servers changed, and it matters with balance %s", now.balance)
	}
	if len(d.reloads) == 0 && !now.has("option allbackups") && !slices.Equal(backupsAtRunTime(was, now), backups(now)) {
		reload("the order of backup servers changed, and the first one counts")
	}
	return d
}

// backups returns the names of the backup servers, in their order.
func backups(b *Backend) []string {
	var names []string
	for _, s := range b.Servers {
		if slices.Contains(strings.Split(s.Options, " "), "backup") {
			names = append(names, s.Name)
		}
	}
	return names
}

// backupsAtRunTime returns the backup servers in the order in which HAProxy would have them: added ones come last.
func backupsAtRunTime(was, now *Backend) []string {
	wanted, names := backups(now), []string{}
	for _, name := range append(backups(was), wanted...) {
		if slices.Contains(wanted, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func order(b *Backend) []string {
	var names []string
	for _, s := range b.Servers {
		names = append(names, s.Name)
	}
	return names
}

// whyNotAdded says why the server cannot come while HAProxy runs, and "" if it can.
func whyNotAdded(c *Config, b *Backend, s Server) string {
	switch {
	case b.fixed != "":
		return b.fixed
	case s.opaque != "":
		return "its line " + s.opaque
	case !s.Addr.IsValid() && s.Host == "":
		return "its address " + clip(s.Address) + " is not a plain one"
	case s.static != "":
		return "its option " + s.static + " needs one"
	case s.Disabled && s.Check: // the checks of a server that is added in maintenance would not pause
		return "it is disabled and has checks"
	case c.names(b.Name, s.Name):
		return "something else refers to it"
	}
	return ""
}

// ambiguous reports whether two servers have one name, which HAProxy refuses.
func (b *Backend) ambiguous() bool {
	names := order(b)
	slices.Sort(names)
	return len(slices.Compact(names)) < len(b.Servers)
}

// whyNotSet says why a standing server cannot become another while HAProxy runs, and "" if it can.
func whyNotSet(b *Backend, old, now Server) string {
	switch {
	case old.opaque != "" || now.opaque != "":
		if old.line == now.line && old.opaque == now.opaque {
			return ""
		}
		return "its line changed and " + cmp.Or(now.opaque, old.opaque)
	case old.Options != now.Options:
		return differentOptions(old.Options, now.Options)
	case old.Address != now.Address && (!old.Addr.IsValid() || !now.Addr.IsValid()):
		return "address " + clip(old.Address) + " changed to " + clip(now.Address)
	case now.lateCheck && (old.Addr != now.Addr || old.Disabled && !now.Disabled):
		return "it becomes another one, and its next check may come late"
	case old.Weight != now.Weight && !b.spreads():
		return "the weight changed, and with balance " + b.balance + " that needs one"
	case now.Weight > maxWeight:
		return "its weight is out of range"
	case old.Disabled != now.Disabled && strings.Contains(now.Options, "on-marked-down"):
		return "it is disabled or enabled, and would cut its sessions off"
	}
	return ""
}

// maxWeight is HAProxy's.
const maxWeight = 256

func differentOptions(old, now string) string {
	was, is := strings.Fields(old), strings.Fields(now)
	var parts []string
	if added := without(is, was); len(added) > 0 {
		parts = append(parts, "option "+clip(strings.Join(added, " "))+" added")
	}
	if removed := without(was, is); len(removed) > 0 {
		parts = append(parts, "option "+clip(strings.Join(removed, " "))+" removed")
	}
	if len(parts) == 0 {
		return "its options changed"
	}
	return strings.Join(parts, ", ")
}

// settable says what "set server" has to change.
func settable(old, now Server) string {
	var parts []string
	if old.Addr != now.Addr {
		parts = append(parts, fmt.Sprintf("address %s changed to %s", old.Address, now.Address))
	}
	if old.Weight != now.Weight {
		parts = append(parts, fmt.Sprintf("weight %d changed to %d", old.Weight, now.Weight))
	}
	if old.MaxConn != now.MaxConn {
		parts = append(parts, fmt.Sprintf("maxconn %d changed to %d", old.MaxConn, now.MaxConn))
	}
	if old.Disabled != now.Disabled {
		parts = append(parts, map[bool]string{true: "disabled", false: "no longer disabled"}[now.Disabled])
	}
	return strings.Join(parts, ", ")
}
