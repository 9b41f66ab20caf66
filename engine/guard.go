package engine

import (
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Guard holds a snapshot that lacks too many of the live instances that earlier ones had within the time of Hold: a
// registry that was just restarted may know only its own node. The zero Guard holds nothing.
type Guard struct {
	// MaxDrop is the share of the live instances, from 0 to 1, that may disappear within the time of Hold.
	MaxDrop float64

	// MinInstances is the number of live instances from which MaxDrop applies. A snapshot without any is held whatever the number
	// was before.
	MinInstances int

	// Hold is how long a snapshot is held; 0 turns the guard off. Later snapshots that lack too much do not extend it.
	Hold time.Duration
}

// Held says why the newest snapshot of a source is held. The previous one stays in use.
type Held struct {
	Reason string
	Since  time.Time
	Until  time.Time // when it is released by itself
}

// holdReason returns why a snapshot with after live instances is held if the previous one had before of them, or "".
func (g Guard) holdReason(before, after int) string {
	if g.Hold <= 0 {
		return ""
	}
	switch {
	case before > 0 && after == 0:
		return fmt.Sprintf("none of %s is left", count(before, "live instance"))
	case before >= g.MinInstances && float64(before-after) > g.MaxDrop*float64(before):
		return fmt.Sprintf("%d of %s are gone, more than max_drop allows", before-after, count(before, "live instance"))
	}
	return ""
}

// liveCounts are the numbers of live instances in the snapshots that were accepted recently, so that a snapshot that shrinks in
// small steps is noticed too. The newest one is kept however old it is.
type liveCounts []liveCount

type liveCount struct {
	until time.Time // when the next snapshot was accepted; zero for the newest
	n     int
}

// max returns the highest number at any time since then.
func (l liveCounts) max(since time.Time) int {
	most := 0
	for _, c := range l {
		if c.until.IsZero() || c.until.After(since) {
			most = max(most, c.n)
		}
	}
	return most
}

// add returns l with the number of a snapshot that is accepted now, without those that ended before since and those that
// can no longer be the highest.
func (l liveCounts) add(now, since time.Time, n int) liveCounts {
	var kept liveCounts
	for _, c := range l {
		if c.until.IsZero() {
			c.until = now
		}
		if c.until.After(since) && c.n > n {
			kept = append(kept, c)
		}
	}
	return append(kept, liveCount{n: n})
}

func countLive(snap sdk.Snapshot) int {
	n := 0
	for _, service := range snap.Services {
		for i := range service.Instances { // without a copy of each instance
			if service.Instances[i].Status == sdk.Alive {
				n++
			}
		}
	}
	return n
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
