package sidecar

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/haproxy-api/haproxy-api/internal/logdedup"
)

// newBackOff returns pauses that grow from half a second to half a minute, with jitter so that many daemons do not retry at the
// same time.
func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.MaxInterval = 30 * time.Second
	return b
}

// jitter returns a random duration within a fifth of d, for the same reason.
func jitter(d time.Duration) time.Duration {
	if spread := d / 5; spread > 0 {
		return d - spread + rand.N(2*spread) //nolint:gosec // not security-relevant
	}
	return d
}

// healthProblems returns the fault as a problem of [sdk.Health], or nil if there is none.
func healthProblems(what string, fault *logdedup.Fault) []string {
	if cause := fault.Cause(); cause != "" {
		return []string{what + ": " + cause}
	}
	return nil
}
