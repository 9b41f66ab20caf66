// Package display composes what the commands status, explain and history show of a daemon. Text of the daemon is made printable,
// because it originates from others.
package display

import (
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/logging"
	"github.com/haproxy-api/haproxy-api/engine"
)

// oneLine returns text of the daemon as one line without control characters.
func oneLine(text string) string { return engine.OneLine(logging.JoinLines(text)) }

// plural returns a number with what it counts.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// clock returns a time of day or, for another day than now's, the date too. The time zone is now's.
func clock(t, now time.Time) string {
	t = t.In(now.Location())
	if isSameDay(t, now) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

func isSameDay(a, b time.Time) bool { return a.Format(time.DateOnly) == b.Format(time.DateOnly) }

// clockAndAge is clock with the time that has passed since.
func clockAndAge(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", clock(t, now), age(now.Sub(t)))
}

// age returns a duration in its one or two largest units, such as 3d4h.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return withUnits(d/time.Minute, "m", d%time.Minute/time.Second, "s")
	case d < day:
		return withUnits(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	default:
		return withUnits(d/day, "d", d%day/time.Hour, "h")
	}
}

func withUnits(large time.Duration, largeUnit string, small time.Duration, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", large, largeUnit)
	}
	return fmt.Sprintf("%d%s%d%s", large, largeUnit, small, smallUnit)
}

// took returns how long something took, with a precision that suits its length.
func took(seconds float64) string {
	switch {
	case seconds < 0.01:
		return fmt.Sprintf("%.1f ms", seconds*1000)
	case seconds < 1:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 100:
		return fmt.Sprintf("%.1f s", seconds)
	default:
		return age(time.Duration(seconds * float64(time.Second)))
	}
}

// join joins the texts that are not empty.
func join(separator string, texts ...string) string {
	var all []string
	for _, text := range texts {
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, separator)
}
