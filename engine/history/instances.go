package history

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxy-api/haproxy-api/internal/snapshots"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Instances describes how the instances of two snapshots differ, one line for each service:
//
//	web: +node-4 10.0.0.4:31180, node-2 unhealthy, -node-3, node-5 10.0.0.5:1 -> 10.0.0.5:2
//
// An instance has the name of its host, and its ID too if the service has several on that host. A tombstone counts as gone. more
// is how many lines were dropped. Services whose instances are the same in memory take constant time.
func Instances(before, after []sdk.Service) (lines []string, more int) {
	add := func(name string, old, now []sdk.Instance) {
		if len(lines) == maxLines {
			if differ(old, now) {
				more++
			}
			return
		}
		if changes := serviceChanges(old, now); changes != "" {
			lines = append(lines, name+": "+changes)
		}
	}
	for len(before) > 0 || len(after) > 0 {
		switch order := compareFirst(before, after, func(a, b sdk.Service) int { return cmp.Compare(a.Name, b.Name) }); {
		case order < 0:
			add(before[0].Name, before[0].Instances, nil)
			before = before[1:]
		case order > 0:
			add(after[0].Name, nil, after[0].Instances)
			after = after[1:]
		default:
			if !snapshots.ShareInstances(before[0], after[0]) {
				add(after[0].Name, before[0].Instances, after[0].Instances)
			}
			before, after = before[1:], after[1:]
		}
	}
	return lines, more
}

// compareFirst compares the first elements of two sorted lists. An empty list comes last.
func compareFirst[T any](a, b []T, compare func(a, b T) int) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return compare(a[0], b[0])
}

func compareInstances(a, b sdk.Instance) int {
	return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
}

// differ reports whether serviceChanges has anything to say.
func differ(before, after []sdk.Instance) bool {
	different := false
	pairs(before, after, func(old, now *sdk.Instance) bool {
		different = change(old, now) != ""
		return !different
	})
	return different
}

// serviceChanges describes the differences between the instances of one service, and returns "" if there are none.
func serviceChanges(before, after []sdk.Instance) string {
	var out strings.Builder
	dropped := 0
	pairs(before, after, func(old, now *sdk.Instance) bool {
		text := change(old, now)
		if text == "" {
			return true
		}
		sign, rest := text[:1], text[1:]
		text = strings.TrimSpace(sign) + instanceName(cmp.Or(now, old), before, after) + rest
		switch {
		case dropped > 0 || out.Len()+len(text) > maxLine*3/4:
			dropped++
		case out.Len() > 0:
			out.WriteString(", " + text)
		default:
			out.WriteString(text)
		}
		return true
	})
	if dropped > 0 {
		if out.Len() > 0 {
			out.WriteString(" ")
		}
		out.WriteString("and " + strconv.Itoa(dropped) + " more")
	}
	return out.String()
}

// pairs calls f with each instance of the two sorted lists, until it returns false. An argument is nil for an instance that is
// missing or a tombstone.
func pairs(before, after []sdk.Instance, f func(old, now *sdk.Instance) bool) {
	for len(before) > 0 || len(after) > 0 {
		var old, now *sdk.Instance
		order := compareFirst(before, after, compareInstances)
		if order <= 0 {
			old, before = present(&before[0]), before[1:]
		}
		if order >= 0 {
			now, after = present(&after[0]), after[1:]
		}
		if (old != nil || now != nil) && !f(old, now) {
			return
		}
	}
}

func present(i *sdk.Instance) *sdk.Instance {
	if i.IsTombstone() {
		return nil
	}
	return i
}

// change describes the difference between an instance and what it was before: a sign, which is a space for an instance that was
// there before, and what comes after its name. It returns "" for an instance that is the same.
func change(old, now *sdk.Instance) string {
	switch {
	case now == nil:
		return "-"
	case old == nil && now.IsAlive():
		return "+ " + addresses(now)
	case old == nil:
		return "+ " + addresses(now) + " " + strings.ToLower(now.StatusString())
	case snapshots.EqualInstances(*old, *now):
		return ""
	}
	var parts []string
	if a, b := addresses(old), addresses(now); a != b {
		parts = append(parts, a+" -> "+b)
	}
	if old.Status != now.Status {
		parts = append(parts, strings.ToLower(now.StatusString()))
	}
	if old.Image != now.Image {
		parts = append(parts, old.Image+" -> "+now.Image)
	}
	if old.ProxyMode != now.ProxyMode {
		parts = append(parts, old.ProxyMode+" -> "+now.ProxyMode)
	}
	if !old.Created.Equal(now.Created) && len(parts) == 0 {
		parts = append(parts, "created again")
	}
	return "  " + cmp.Or(strings.Join(parts, " "), "changed")
}

// shownAddresses is how many addresses of an instance are shown.
const shownAddresses = 3

// addresses returns where the instance listens.
func addresses(i *sdk.Instance) string {
	var all []string
	for _, port := range i.Ports[:min(len(i.Ports), shownAddresses)] {
		all = append(all, net.JoinHostPort(cmp.Or(port.IP, i.Hostname), strconv.FormatInt(port.Port, 10)))
	}
	if more := len(i.Ports) - shownAddresses; more > 0 {
		all = append(all, "+"+strconv.Itoa(more))
	}
	return cmp.Or(strings.Join(all, " "), "without ports")
}

// instanceName returns the name of the instance's host, with its ID if other instances of the service have the same host.
func instanceName(i *sdk.Instance, lists ...[]sdk.Instance) string {
	for _, list := range lists {
		first, _ := slices.BinarySearchFunc(list, i.Hostname, func(other sdk.Instance, host string) int {
			return cmp.Compare(other.Hostname, host)
		})
		for ; first < len(list) && list[first].Hostname == i.Hostname; first++ {
			if list[first].ID != i.ID {
				return i.Hostname + "/" + i.ID
			}
		}
	}
	return i.Hostname
}
