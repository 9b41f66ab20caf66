package engine

import (
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Guard holds back a snapshot that lacks too much of what those before had within the time of Hold: a catalogue that was
// just restarted may know nothing but itself. The zero Guard lets everything through.
type Guard struct {
	// MaxDrop is the share of the live instances, from 0 to 1, that may go within the time of Hold.
	MaxDrop float64

	// MinInstances is from how many live instances on MaxDrop counts. The last live instance is held whatever their number.
	MinInstances int

	// Hold is for how long a snapshot is held; 0 turns the guard off. Snapshots that come meanwhile and lack too much as well
	// do not make it longer.
	Hold time.Duration
}

// Held says that a source's newest snapshot is held back and the one before stays in force.
type Held struct {
	Reason string
	Since  time.Time
	Until  time.Time // when it is let through if nothing else happens
}

// objection says why a snapshot with so many live instances shall not follow one that had so many, or nothing.
func (g Guard) objection(had, has int) string {
	if g.Hold <= 0 {
		return ""
	}
	switch {
	case had > 0 && has == 0:
		return fmt.Sprintf("none of %s is left", count(had, "live instance"))
	case had >= g.MinInstances && float64(had-has) > g.MaxDrop*float64(had):
		return fmt.Sprintf("%d of %s are gone, more than max_drop allows", had-has, count(had, "live instance"))
	}
	return ""
}

// A levels remembers how many live instances the snapshots had that were accepted lately, so that a catalogue that shrinks in
// small steps is noticed too. The last one stays, however old it is.
type levels []level

type level struct {
	until time.Time // when the next one was accepted; zero for the newest
	live  int
}

// peak returns the most that there were at any time since then.
func (l levels) peak(since time.Time) int {
	most := 0
	for _, at := range l {
		if at.until.IsZero() || at.until.After(since) {
			most = max(most, at.live)
		}
	}
	return most
}

// accepted returns l with a snapshot of so many, and without what was over by then. Of those that nobody will ask for only one is
// kept: a level counts for as long as no later one is as high.
func (l levels) accepted(now, since time.Time, live int) levels {
	var kept levels
	for _, at := range l {
		if at.until.IsZero() {
			at.until = now
		}
		if at.until.After(since) && at.live > live {
			kept = append(kept, at)
		}
	}
	return append(kept, level{live: live})
}

func live(snap sdk.Snapshot) int {
	n := 0
	for _, service := range snap.Services {
		for _, instance := range service.Instances {
			if instance.IsAlive() {
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
