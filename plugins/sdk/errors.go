package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrRejected marks a [Document], or a configuration, that will never be accepted, however often it is offered. It crosses the
// border between plugin and daemon: test with [errors.Is]. An error that is of several kinds arrives as the first of ErrRejected,
// [ErrDeferred], [NotLoadedError], [Rejection] and [context.Canceled].
var ErrRejected = errors.New("document rejected")

// Rejectf returns an error with that sentence that is also [ErrRejected].
func Rejectf(format string, args ...any) error {
	return RejectAt(nil, format, args...)
}

// RejectAt is [Rejectf] for a sink that can tell what is wrong where. The sentence says who rejects the document; what is
// wrong is in places, and both are shown to people. The daemon finds the service or instance that each place comes from,
// leaves it out, and offers the rest.
func RejectAt(places []Place, format string, args ...any) error {
	return &Rejection{Err: fmt.Errorf(format, args...), Places: places}
}

// RefuseAt is [RejectAt] for a trouble that may pass, such as a name that cannot be looked up. The error is not [ErrRejected]:
// what is at fault is left out only if it is not live yet, and tried again after that time.
func RefuseAt(after time.Duration, places []Place, format string, args ...any) error {
	return RetryAfter(&Rejection{Err: fmt.Errorf(format, args...), Places: places, Passes: true}, after)
}

// A Rejection is in what [Rejectf], [RejectAt] and [RefuseAt] return.
type Rejection struct {
	Err    error
	Places []Place
	Passes bool // it may: this is not [ErrRejected]
}

// A Place is a fault in a [Document].
type Place struct {
	File    string // the name of the document's file, as in [File].Name
	Path    string // the name of that file for people, such as the path to which it goes; empty where File will do
	Line    int    // of the file, from 1; 0 where the line is not known
	Problem string
}

// shownPlaces bounds how many places a sentence names.
const shownPlaces = 6

// Error returns the sentence with the first places after it.
func (r *Rejection) Error() string {
	return r.Tell(func(p Place) string {
		if p.Line == 0 {
			return p.Problem
		}
		return "[" + p.String() + "] " + p.Problem
	})
}

// Tell is Error with places that are put into other words.
func (r *Rejection) Tell(word func(Place) string) string {
	var words []string
	for _, p := range r.Places[:min(len(r.Places), shownPlaces)] {
		words = append(words, word(p))
	}
	if more := len(r.Places) - shownPlaces; more > 0 {
		words = append(words, fmt.Sprintf("(%d more)", more))
	}
	if len(words) == 0 {
		return r.Err.Error()
	}
	return r.Err.Error() + ": " + strings.Join(words, "; ")
}

// Unwrap returns the sentence, which may wrap more, and [ErrRejected] unless it may pass.
func (r *Rejection) Unwrap() []error {
	if r.Passes {
		return []error{r.Err}
	}
	return []error{r.Err, ErrRejected}
}

// String returns FILE:LINE, or FILE where the line is not known, with the file's name for people.
func (p Place) String() string {
	name := cmp.Or(p.Path, p.File)
	if p.Line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(p.Line)
}

// ErrDeferred marks a [Document] that is not in effect yet although nothing is wrong. It crosses the border between plugin
// and daemon: test with [errors.Is].
var ErrDeferred = errors.New("document deferred")

// Deferred returns an error that is also [ErrDeferred]. reason says what is waited for. The daemon offers the document, or
// a newer one, again when that time has passed; a newer one it offers at once.
func Deferred(reason string, after time.Duration) error {
	return &DeferredError{Reason: reason, After: after}
}

// A DeferredError is what [Deferred] returns.
type DeferredError struct {
	Reason string
	After  time.Duration
}

func (e *DeferredError) Error() string { return e.Reason }

// Unwrap returns [ErrDeferred].
func (e *DeferredError) Unwrap() error { return ErrDeferred }

// NotLoaded returns err as one that says that the document passed the sink's check, and that the program which the sink manages
// then failed to load it or did not stay up with it. The document before is in effect again. Each try may interrupt the program,
// so the daemon gives up a template that was just edited, and tries a document of any other again after longer and longer
// delays, with [Document].Retry set.
func NotLoaded(err error) error { return &NotLoadedError{Err: err} }

// A NotLoadedError is what [NotLoaded] returns. It crosses the border between plugin and daemon: test with [errors.AsType].
type NotLoadedError struct{ Err error }

func (e *NotLoadedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *NotLoadedError) Unwrap() error { return e.Err }

// RetryAfter returns err with the hint that trying again makes no sense before d has passed. Without the hint the daemon
// chooses, with backoff and jitter. Around what [RejectAt] returns it says that the sink may judge otherwise by then, whatever is
// live: what is left out for it, or the whole document, is tried again.
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
