package sdk

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The kinds of errors that the daemon treats in different ways. They survive the way from the plugin to the daemon: test for
// them with [errors.Is]. Any other error is a failure: the daemon keeps the previous document and tries again with backoff.
//
//	error                          made by                        the daemon
//	ErrRejected                    Rejectf, *Rejection            does not try the document again
//	ErrRejected with a RetryError  RetryAfter around one          tries the document again then
//	ErrDeferred                    Deferred                       reports no failure and tries the document again then
//	ErrNotLoaded                   NotLoaded                      gives up a template that was just edited, else retries rarely
//	a *Rejection that is Temporary RetryAfter around one          tries the document again then; excludes nothing that is live
//	errors.ErrUnsupported          an error that wraps it         knows that the sink cannot do what it was asked
//	context.Canceled               an error that wraps it         knows that the sink stopped because it was asked to
//
// An error of several kinds counts as the first of these.
var (
	// ErrRejected marks a [Document], or a configuration, that is never accepted, however often it is tried.
	ErrRejected = errors.New("document rejected")
	// ErrDeferred marks a [Document] that is not in effect yet, although nothing is wrong. See [Deferred].
	ErrDeferred = errors.New("document deferred")
	// ErrNotLoaded marks a [Document] that passed the sink's check and that its program did not load. See [NotLoaded].
	ErrNotLoaded = errors.New("document not loaded")
)

// Rejectf returns a [Rejection] without positions, which is [ErrRejected].
func Rejectf(format string, args ...any) error {
	return &Rejection{Err: fmt.Errorf(format, args...)}
}

// A Rejection is the error of a sink that rejects a document. It is [ErrRejected] unless it is temporary.
//
// A sink that knows which lines are wrong sets Positions. The daemon then finds the service or instance that each line was
// rendered for, excludes it, and applies the rest of the document. Name as many positions as possible at once. [RetryAfter]
// around the Rejection says when the daemon tries what it has excluded again.
type Rejection struct {
	// Err says who rejects the document. Error appends the positions to it. Without Err the text is that of ErrRejected.
	Err       error
	Positions []Position
	// Temporary says that the cause is outside of the document and may disappear, such as a host name without an address. The
	// daemon then excludes nothing that is live already. Wrap a temporary rejection with [RetryAfter].
	Temporary bool
}

// A Position is a fault in a [Document].
type Position struct {
	File    string // the name of the document's file, as in [File].Name
	Path    string // the name of that file in messages, such as the path to which it is written; empty for File
	Line    int    // starts at 1; 0 where the line is not known
	Problem string
}

// maxShownPositions bounds how many positions an error text contains.
const maxShownPositions = 6

// Error returns Err and the first positions.
func (r *Rejection) Error() string {
	var problems []string
	for _, p := range r.Positions[:min(len(r.Positions), maxShownPositions)] {
		if p.Line == 0 {
			problems = append(problems, p.Problem)
		} else {
			problems = append(problems, "["+p.String()+"] "+p.Problem)
		}
	}
	if more := len(r.Positions) - maxShownPositions; more > 0 {
		problems = append(problems, fmt.Sprintf("(%d more)", more))
	}
	text := ErrRejected.Error()
	if r.Err != nil {
		text = r.Err.Error()
	}
	if len(problems) == 0 {
		return text
	}
	return text + ": " + strings.Join(problems, "; ")
}

// Unwrap returns Err, if there is one, and [ErrRejected] unless the rejection is temporary.
func (r *Rejection) Unwrap() []error {
	var wrapped []error
	if r.Err != nil {
		wrapped = append(wrapped, r.Err)
	}
	if !r.Temporary {
		wrapped = append(wrapped, ErrRejected)
	}
	return wrapped
}

// String returns PATH:LINE, or PATH where the line is not known.
func (p Position) String() string {
	name := cmp.Or(p.Path, p.File)
	if p.Line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(p.Line)
}

// RetryAfter returns err with the hint not to try again before d has passed. Without it the daemon uses backoff with jitter.
func RetryAfter(err error, d time.Duration) error {
	return &RetryError{Err: err, After: d}
}

// A RetryError is the error of [RetryAfter] and [Deferred]: it says when to try again.
type RetryError struct {
	Err   error
	After time.Duration
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// Deferred returns an [ErrDeferred] whose text is reason: the document is not in effect yet and nothing is wrong, as when a
// sink allows one reload in five seconds. The daemon applies the document again after d, or a newer one at any time before.
func Deferred(reason string, d time.Duration) error {
	return RetryAfter(&kindError{errors.New(reason), ErrDeferred}, d)
}

// NotLoaded returns err as an [ErrNotLoaded]: the document passed the sink's check, and the program that the sink manages then
// failed to load it or ended soon afterwards. The sink must have put the previous document into effect again.
//
// Each attempt can interrupt the program. The daemon therefore gives up a template that was just edited, and tries a document
// of another template again after growing delays, with [Document].Retry set.
func NotLoaded(err error) error { return &kindError{err, ErrNotLoaded} }

// kindError is an error of a kind, with the text of err alone.
type kindError struct{ err, kind error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }
