package syntax

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// serverChanges are the differences between the servers of one backend.
type serverChanges struct {
	backend          string
	reloads, changes []string
}

func (d *serverChanges) reloadf(format string, args ...any) {
	d.reloads = append(d.reloads, "backend "+d.backend+": "+fmt.Sprintf(format, args...))
}

func (d *serverChanges) changef(format string, args ...any) {
	d.changes = append(d.changes, "backend "+d.backend+": "+fmt.Sprintf(format, args...))
}

func compareServers(before, after *Config, old, current *entry) serverChanges {
	was, now := before.backend(old), after.backend(current)
	d := serverChanges{backend: now.Name}
	switch {
	case slices.Equal(was.Servers, now.Servers):
		return d
	case was.ambiguous() != "" || now.ambiguous() != "":
		d.reloadf("two servers have the name %s", cmp.Or(now.ambiguous(), was.ambiguous()))
		return d
	case cmp.Or(now.closed, was.closed) != "":
		d.reloadf("its servers differ, and %s", cmp.Or(now.closed, was.closed))
		return d
	}
	for _, s := range now.Servers {
		d.compareServer(after, was, now, s)
	}
	for _, s := range was.Servers {
		if _, kept := now.Server(s.Name); kept {
			continue
		}
		if reason := whyNotRemoved(before, now, s); reason != "" {
			d.reloadf("server %s removed, and %s", s.Name, reason)
		} else {
			d.changef("server %s removed", s.Name)
		}
	}
	if len(d.reloads) == 0 {
		d.compareOrder(was, now)
	}
	return d
}

func (d *serverChanges) compareServer(after *Config, was, now *Backend, s Server) {
	old, existed := was.Server(s.Name)
	if !existed {
		if reason := whyNotAdded(after, now, s); reason != "" {
			d.reloadf("server %s added, and %s", s.Name, reason)
		} else {
			d.changef("server %s added", s.Name)
		}
	} else if reason := now.WhyNotSet(old, s); reason != "" {
		d.reloadf("server %s: %s", s.Name, reason)
	} else if what := settable(old, s); what != "" {
		d.changef("server %s: %s", s.Name, what)
	}
}

func (d *serverChanges) compareOrder(was, now *Backend) {
	switch {
	case slices.Equal(was.orderAtRunTime(now), now.Order()):
	case now.ordered != "":
		d.reloadf("the order of servers changed, and %s", now.ordered)
	default:
		d.reloadf("the order of backup servers changed, and the first one counts")
	}
}

// orderAtRunTime returns the names that now has in order, as HAProxy would have them: added servers come last.
func (b *Backend) orderAtRunTime(now *Backend) []string {
	var kept, added []string
	for _, s := range b.Servers {
		if now.InOrder(s.Name) {
			kept = append(kept, s.Name)
		}
	}
	for _, s := range now.Servers {
		if _, existed := b.Server(s.Name); !existed && now.InOrder(s.Name) {
			added = append(added, s.Name)
		}
	}
	return append(kept, added...)
}

// whyNotAdded returns why the server cannot be added at run time, or "" if it can. That HAProxy would reject the line in a file
// is also a reason: before a reload the file is checked.
func whyNotAdded(c *Config, b *Backend, s Server) string {
	switch {
	case b.fixed != "":
		return b.fixed
	case s.opaque != "":
		return "its line " + s.opaque
	case !s.Addr.IsValid() && s.Host == "":
		return "its address " + clip(s.Address) + " is not a plain one"
	case s.static != "":
		return "with its option " + s.static + " it cannot be added at run time"
	case s.Weight > maxWeight:
		return fmt.Sprintf("its weight %d is out of range", s.Weight)
	case s.hasOption("weight") || s.hasOption("maxconn") && s.MaxConn != BoundByOptions:
		return "its weight or maxconn is not a number"
	case s.tooLong() || strings.Count(s.Options, " ") > maxOptions:
		return "its line has too many words"
	case strings.Contains(s.Options+" ", "proto fcgi "): // needs an application, which only the check of a file requires
		return "it speaks FastCGI"
	case s.Disabled && s.Check: // the checks of a server that is added in maintenance do not pause
		return "it is disabled and has checks"
	case c.reference(b.Name, s.Name) != "":
		return "the line " + clip(c.reference(b.Name, s.Name)) + " refers to it"
	}
	return ""
}

func (s Server) hasOption(keyword string) bool {
	return slices.Contains(strings.Fields(s.Options), keyword)
}

// whyNotRemoved returns why the server cannot be removed at run time, or "" if it can.
func whyNotRemoved(c *Config, b *Backend, s Server) string {
	switch {
	case b.fixed != "":
		return b.fixed
	case c.reference(b.Name, s.Name) != "":
		return "the line " + clip(c.reference(b.Name, s.Name)) + " refers to it"
	case c.count(b.Name) != "":
		return "the line " + clip(c.count(b.Name)) + " counts the servers that drain as well"
	}
	return ""
}

// ambiguous returns a name that two servers have, which HAProxy rejects, or "" if there is none.
func (b *Backend) ambiguous() string {
	if len(b.byName) == len(b.Servers) {
		return ""
	}
	seen := map[string]bool{}
	for _, s := range b.Servers {
		if seen[s.Name] {
			return s.Name
		}
		seen[s.Name] = true
	}
	return ""
}

// WhyNotSet returns why an existing server cannot be changed from old to now at run time, or "" if it can.
func (b *Backend) WhyNotSet(old, now Server) string {
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
		return "its address changed or it is enabled, and its next check at run time may come late"
	case old.Weight != now.Weight && !b.spreads():
		return fmt.Sprintf("weight %d changed to %d, and with balance %s that has no effect at run time",
			old.Weight, now.Weight, b.balance)
	case now.Weight > maxWeight:
		return fmt.Sprintf("its weight %d is out of range", now.Weight)
	case now.tooLong():
		return "its line has too many words"
	case old.Disabled != now.Disabled && strings.Contains(now.Options, "on-marked-down"):
		return "it is disabled or enabled, and with its option on-marked-down that would end its sessions"
	}
	return ""
}

const (
	maxWeight  = 256 // of a server
	maxWords   = 64  // of a line; HAProxy 2.6 ignores further words of a command
	maxOptions = 45  // words of the options in "add server", so that there is room for others
)

// tooLong reports whether HAProxy rejects the line for its length.
func (s Server) tooLong() bool {
	own, _, _ := strings.Cut(s.line, "\n")
	return strings.Count(own, " ") >= maxWords
}

func differentOptions(old, now string) string {
	was, is := strings.Fields(old), strings.Fields(now)
	parts := differentValues(was, is)
	if len(parts) > 0 {
		return few(parts)
	}
	added, removed := without(is, was), without(was, is)
	if len(added) > 0 {
		parts = append(parts, "option "+clip(strings.Join(added, " "))+" added")
	}
	if len(removed) > 0 {
		parts = append(parts, "option "+clip(strings.Join(removed, " "))+" removed")
	}
	if len(parts) == 0 {
		return "the order of its options changed"
	}
	return strings.Join(parts, ", ")
}

// differentValues describes how options differ of which only values differ. A value follows its keyword. It returns nil if
// something else differs.
func differentValues(was, is []string) []string {
	if len(was) != len(is) {
		return nil
	}
	var parts []string
	for i := range is {
		switch {
		case was[i] == is[i]:
		case i == 0 || was[i-1] != is[i-1]:
			return nil
		default:
			parts = append(parts, fmt.Sprintf("option %s changed from %s to %s", is[i-1], clip(was[i]), clip(is[i])))
		}
	}
	return parts
}

// settable describes what "set server" has to change.
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
