package sidecar

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
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

// problems returns the fault as a health's problem, and nothing where there is none.
func problems(what string, fault *logdedup.Fault) []string {
	if cause := fault.Cause(); cause != "" {
		return []string{what + ": " + cause}
	}
	return nil
}
