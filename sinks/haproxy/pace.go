package haproxy

import "time"

// A pace spreads reloads: the first one goes at once, and those of a storm together.
type pace struct {
	interval time.Duration // the least time between two
	last     time.Time
	failures int // in a row
}

// maxFailureInterval bounds the least time between two reloads when reloads fail.
const maxFailureInterval = time.Minute

// wait returns how long the next reload has to wait: each may interrupt HAProxy when reloads fail, so the time then doubles.
func (p *pace) wait() time.Duration {
	if p.last.IsZero() {
		return 0
	}
	interval := p.interval
	for range min(p.failures-1, 10) {
		interval = max(interval, min(2*interval, maxFailureInterval))
	}
	return max(0, interval-time.Since(p.last))
}

// failed notes that the last reload did not work.
func (p *pace) failed() { p.failures++ }

// worked notes that the last reload worked.
func (p *pace) worked() { p.failures = 0 }

// step notes that there is one now.
func (p *pace) step() { p.last = time.Now() }
