package host

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// ErrGone says that the plugin's process ended, or was not there, while it was asked. It is started again by itself.
var ErrGone = errors.New("the plugin does not run and is being started again")

// callError gives an error of gRPC itself its place in our own terms. What the plugin's author returned travels as
// wire.Failure instead. ctx is the call's.
func callError(ctx context.Context, what string, err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable:
		return ErrGone
	case codes.Canceled:
		if ctx.Err() == nil { // it was not us: the connection was closed because the program is being ended
			return ErrGone
		}
		return context.Cause(ctx)
	case codes.DeadlineExceeded:
		return fmt.Errorf("cannot %s the plugin: it did not answer in time: %w", what, context.DeadlineExceeded)
	case codes.Unimplemented:
		return fmt.Errorf("cannot %s the plugin: it does not know the call: %w", what, errors.ErrUnsupported)
	default:
		return fmt.Errorf("cannot %s the plugin: %s", what, clip(s.Message(), maxError))
	}
}

// A StartError says that the plugin runs and cannot work at the moment, although its configuration may be right.
type StartError struct{ Err error }

func (e *StartError) Error() string { return "it cannot start at the moment: " + e.Err.Error() }

// Unwrap returns what the plugin said.
func (e *StartError) Unwrap() error { return e.Err }

// failure turns what a plugin reported into the error that its author returned, as far as the wire can tell.
func failure(f *wire.Failure) error {
	if f == nil {
		return nil
	}
	message, places := clip(f.GetMessage(), maxError), placesFromWire(f.GetPlaces())
	code := f.GetCode()
	if code == wire.Failure_CODE_UNSPECIFIED && len(places) > 0 {
		code = wire.Failure_CODE_REFUSED
	}
	var err error
	switch code {
	case wire.Failure_CODE_REJECTED:
		err = &sdk.Rejection{Err: errors.New(message), Places: places}
	case wire.Failure_CODE_REFUSED:
		err = &sdk.Rejection{Err: errors.New(message), Places: places, Passes: true}
	case wire.Failure_CODE_DEFERRED:
		return sdk.Deferred(message, retryAfter(f))
	case wire.Failure_CODE_NOT_LOADED:
		err = sdk.NotLoaded(errors.New(message))
	case wire.Failure_CODE_CANCELED:
		err = &canceled{message}
	default:
		err = errors.New(message)
	}
	if f.GetRetryAfter() != nil {
		err = sdk.RetryAfter(err, retryAfter(f))
	}
	return err
}

type canceled struct{ message string }

func (c *canceled) Error() string { return c.message }
func (c *canceled) Unwrap() error { return context.Canceled }
