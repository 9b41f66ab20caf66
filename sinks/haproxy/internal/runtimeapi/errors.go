package runtimeapi

import "errors"

var errNoAnswer = errors.New("HAProxy does not answer in time")

// A RefusedError says why servers cannot be made what a configuration says without a reload: HAProxy refused a command, or no
// command can do it.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// An UnsupportedError says why the running HAProxy can be neither changed nor read.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

// IsUnsupported reports whether err is an UnsupportedError.
func IsUnsupported(err error) bool {
	_, unsupported := errors.AsType[*UnsupportedError](err)
	return unsupported
}

// IsRefused reports whether err is a RefusedError.
func IsRefused(err error) bool {
	_, refused := errors.AsType[*RefusedError](err)
	return refused
}

// isPermanent reports whether the same would fail on another connection too.
func isPermanent(err error) bool {
	return IsRefused(err) || IsUnsupported(err) || errors.Is(err, ErrBusy)
}
