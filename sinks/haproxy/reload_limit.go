package haproxy

import "time"

// A reloadLimit limits the rate of reloads. The first one may run at once, and those that follow it within the interval together.
type reloadLimit struct {
	interval time.Duration // the minimum time between two reloads
	last     time.Time
	failures int // in a row
}

// maxFailureInterval bounds the minimum time between two reloads when reloads fail.
const maxFailureInterval = time.Minute

// wait returns how long the next reload has to wait. The interval doubles with each failure, because a reload that fails may
// interrupt HAProxy.
func (l *reloadLimit) wait() time.Duration {
	if l.last.IsZero() {
		return 0
	}
	interval := l.interval
	for range min(l.failures-1, 10) {
		interval = max(interval, min(2*interval, maxFailureInterval))
	}
	return max(0, interval-time.Since(l.last))
}

// recordStart records that a reload starts now.
func (l *reloadLimit) recordStart() { l.last = time.Now() }

// recordFailure records that the last reload failed.
func (l *reloadLimit) recordFailure() { l.failures++ }

// recordSuccess records that the last reload succeeded.
func (l *reloadLimit) recordSuccess() { l.failures = 0 }
