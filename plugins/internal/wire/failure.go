package wire

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// MaxRetryAfter bounds how long a plugin can defer a document or delay a retry at a time.
const MaxRetryAfter = time.Hour

// EncodeError returns err as a message, and nil for nil. Of an error of several kinds, the first in the table of package sdk
// counts.
func EncodeError(err error) *Failure {
	if err == nil {
		return nil
	}
	failure := &Failure{Code: codeOf(err), Message: Text(err.Error())}
	if retry, ok := errors.AsType[*sdk.RetryError](err); ok {
		failure.RetryAfter = durationpb.New(retry.After)
	}
	if rejection, ok := errors.AsType[*sdk.Rejection](err); ok && failure.Code == Failure_CODE_REJECTED {
		failure.Temporary = !errors.Is(err, sdk.ErrRejected)
		// The positions are fields of their own, so the message contains only the text around them.
		bare := &sdk.Rejection{Err: rejection.Err}
		failure.Message = Text(strings.Replace(err.Error(), rejection.Error(), bare.Error(), 1))
		failure.Positions = encodePositions(rejection.Positions)
	}
	return failure
}

func codeOf(err error) Failure_Code {
	_, isRejection := errors.AsType[*sdk.Rejection](err)
	_, isErrno := errors.AsType[syscall.Errno](err) // ENOSYS, for example, is errors.ErrUnsupported: a system call failed
	switch {
	case errors.Is(err, sdk.ErrRejected):
		return Failure_CODE_REJECTED
	case errors.Is(err, sdk.ErrDeferred):
		return Failure_CODE_DEFERRED
	case errors.Is(err, sdk.ErrNotLoaded):
		return Failure_CODE_NOT_LOADED
	case isRejection: // a temporary one
		return Failure_CODE_REJECTED
	case errors.Is(err, errors.ErrUnsupported) && !isErrno:
		return Failure_CODE_UNSUPPORTED
	case errors.Is(err, context.Canceled):
		return Failure_CODE_CANCELED
	default:
		return Failure_CODE_UNSPECIFIED
	}
}

// DecodeError returns the error of a message, within the limits of this package, and nil for nil. It has the kind, the text,
// the positions and the retry hint of the error that was encoded.
func DecodeError(f *Failure) error {
	if f == nil {
		return nil
	}
	err := errors.New(Truncate(f.GetMessage(), MaxError))
	after := min(max(f.GetRetryAfter().AsDuration(), 0), MaxRetryAfter)
	switch f.GetCode() {
	case Failure_CODE_REJECTED:
		err = &sdk.Rejection{Err: err, Positions: decodePositions(f.GetPositions()), Temporary: f.GetTemporary()}
	case Failure_CODE_DEFERRED:
		return sdk.Deferred(err.Error(), after)
	case Failure_CODE_NOT_LOADED:
		err = sdk.NotLoaded(err)
	case Failure_CODE_UNSUPPORTED:
		err = &kindError{err, errors.ErrUnsupported}
	case Failure_CODE_CANCELED:
		err = &kindError{err, context.Canceled}
	default:
		if positions := decodePositions(f.GetPositions()); len(positions) > 0 {
			err = &sdk.Rejection{Err: err, Positions: positions, Temporary: true}
		}
	}
	if f.GetRetryAfter() != nil {
		err = sdk.RetryAfter(err, after)
	}
	return err
}

// kindError is an error of a kind, with the text of err alone.
type kindError struct{ err, kind error }

func (e *kindError) Error() string { return e.err.Error() }
func (e *kindError) Unwrap() error { return e.kind }

func encodePositions(positions []sdk.Position) []*Position {
	var out []*Position
	for _, p := range positions {
		out = append(out, &Position{
			File: Text(p.File), Path: Text(p.Path), Line: int64(p.Line), Problem: Text(p.Problem),
		})
	}
	return out
}

func decodePositions(list []*Position) []sdk.Position {
	var out []sdk.Position
	for _, p := range list[:min(len(list), MaxPositions)] {
		out = append(out, sdk.Position{
			File: Truncate(p.GetFile(), MaxText), Path: Truncate(p.GetPath(), MaxText), Line: int(max(p.GetLine(), 0)),
			Problem: Truncate(p.GetProblem(), MaxText),
		})
	}
	return out
}

// EncodeFaults returns what is wrong in a configuration block as messages.
func EncodeFaults(faults sdk.Faults) []*Fault {
	var out []*Fault
	for _, f := range faults {
		out = append(out, &Fault{Key: Text(f.Key), Problem: Text(f.Problem)})
	}
	return out
}

// DecodeFaults is the inverse of [EncodeFaults], within the limits of this package. Where there are more faults, a last one
// says how many are missing.
func DecodeFaults(list []*Fault) sdk.Faults {
	var out sdk.Faults
	for _, f := range list[:min(len(list), MaxFaults)] {
		out = append(out, sdk.Fault{Key: Truncate(f.GetKey(), MaxText), Problem: Truncate(f.GetProblem(), MaxText)})
	}
	if more := len(list) - MaxFaults; more > 0 {
		out = append(out, sdk.Fault{Problem: strconv.Itoa(more) + " more"})
	}
	return out
}

// EncodeLost returns lost as a message. A sink that does not say why gets a text that says so.
func EncodeLost(lost sdk.Lost) *AttachEvent {
	if lost.Err == nil {
		lost.Err = errors.New("the sink gives no reason")
	}
	return &AttachEvent{
		Lost: EncodeError(lost.Err), Generation: lost.Generation, Digest: Text(lost.Digest),
		Commands: encodeCommands(lost.Commands), Details: encodeTexts(lost.Details),
	}
}

// DecodeLost is the inverse of [EncodeLost]. It returns false for the first event, with which a plugin reports only that it is
// attached.
func DecodeLost(event *AttachEvent) (sdk.Lost, bool) {
	if event.GetLost() == nil {
		return sdk.Lost{}, false
	}
	return sdk.Lost{
		Err: DecodeError(event.GetLost()), Generation: event.GetGeneration(), Digest: event.GetDigest(),
		Commands: decodeCommands(event.GetCommands()), Details: decodeTexts(event.GetDetails(), MaxDetails),
	}, true
}
