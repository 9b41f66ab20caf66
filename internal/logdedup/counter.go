package logdedup

import (
	"sync"
	"time"
)

// MaxKeys is how many keys a [Counter] counts separately within one window. It bounds the memory, because senders can choose
// keys.
const MaxKeys = 1000

// A Counter counts events by key in windows of time. A window begins with the first event after the previous window has ended.
// It is safe for concurrent use.
type Counter struct {
	window time.Duration

	mu     sync.Mutex
	begin  time.Time
	counts map[string]int
	others int // events whose keys are not counted separately
}

// NewCounter returns a counter with windows of that length.
func NewCounter(window time.Duration) *Counter { return &Counter{window: window} }

// Add counts an event with that key and returns the number of such events in the window so far. Where the window already has
// [MaxKeys] other keys, separate is false, and n is the number of all events whose keys are not counted separately.
func (c *Counter) Add(key string, now time.Time) (n int, separate bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Events may arrive slightly out of order, so only a clock that was set back by a window begins another one.
	if age := now.Sub(c.begin); age >= c.window || age < -c.window {
		c.begin, c.counts, c.others = now, map[string]int{}, 0
	}
	if _, known := c.counts[key]; !known && len(c.counts) >= MaxKeys {
		c.others++
		return c.others, false
	}
	c.counts[key]++
	return c.counts[key], true
}
