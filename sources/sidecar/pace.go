package sidecar

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// newBackOff returns pauses that grow from half a second to half a minute, each of them jittered so that many of us do
// not return to one Sidecar together.
func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.MaxInterval = 30 * time.Second
	return b
}

// jitter returns a duration within a fifth of d, for the same reason.
func jitter(d time.Duration) time.Duration {
	if spread := d / 5; spread > 0 {
		return d - spread + rand.N(2*spread) //nolint:gosec // to be spread is all it is for
	}
	return d
}

// A complaint logs a trouble once, and again only when it becomes another one. It is safe for several goroutines.
type complaint struct {
	mu   sync.Mutex
	last string
}

// about logs message and the error, unless that is what was logged last.
func (c *complaint) about(log *slog.Logger, message string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == err.Error() {
		return
	}
	c.last = err.Error()
	log.Warn(message, "error", err)
}

// problems returns the trouble as a health's problem, and nothing where there is none.
func (c *complaint) problems(what string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == "" {
		return nil
	}
	return []string{what + ": " + c.last}
}

// over reports whether there was a trouble, and forgets it.
func (c *complaint) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.last != ""
	c.last = ""
	return was
}
