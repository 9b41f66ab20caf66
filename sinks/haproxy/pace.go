package haproxy

import "time"

// A pace spreads reloads: the first one goes at once, and those of a storm together.
type pace struct {
	interval time.Duration // the least time between two
	last     time.Time
}

// wait returns how long the next reload has to wait.
func (p *pace) wait() time.Duration {
	if p.last.IsZero() {
		return 0
	}
	return max(0, p.interval-time.Since(p.last))
}

// step notes that there is one now.
func (p *pace) step() { p.last = time.Now() }
