package sdk

import (
	"errors"
	"fmt"
	"time"
)

// ErrRejected marks a [Document] that will never be accepted, however often it is offered. It crosses the border between
// plugin and daemon: test with [errors.Is].
var ErrRejected = errors.New("document rejected")

// Rejectf returns an error with that sentence that is also [ErrRejected].
func Rejectf(format string, args ...any) error {
	return &rejection{fmt.Errorf(format, args...)}
}

type rejection struct{ error }

func (r *rejection) Unwrap() []error { return []error{r.error, ErrRejected} }

// RetryAfter returns err with the hint that trying again makes no sense before d has passed. Without the hint the daemon
// chooses, with backoff and jitter.
func RetryAfter(err error, d time.Duration) error {
	return &RetryError{Err: err, After: d}
}

// A RetryError carries the hint of [RetryAfter].
type RetryError struct {
	Err   error
	After time.Duration
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the error that the hint is about.
func (e *RetryError) Unwrap() error { return e.Err }
