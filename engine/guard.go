package engine

import (
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Guard holds back a snapshot that lacks too much of what the one before had: a catalogue that was just restarted may know
// nothing but itself. The zero Guard lets everything through.
type Guard struct {
	// MaxDrop is the share of the live instances, from 0 to 1, that may go from one snapshot to the next.
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

// objection says why next shall not follow before at once, or nothing.
func (g Guard) objection(before, next sdk.Snapshot) string {
	if g.Hold <= 0 {
		return ""
	}
	had, has := live(before), live(next)
	switch {
	case had > 0 && has == 0:
		return fmt.Sprintf("none of %s is left", count(had, "live instance"))
	case had >= g.MinInstances && float64(had-has) > g.MaxDrop*float64(had):
		return fmt.Sprintf("%d of %s are gone, more than max_drop allows", had-has, count(had, "live instance"))
	}
	return ""
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
