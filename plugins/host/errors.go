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
	default:
		return fmt.Errorf("cannot %s the plugin: %s", what, s.Message())
	}
}

// failure turns what a plugin reported into the error that its author returned, as far as the wire can tell.
func failure(f *wire.Failure) error {
	if f == nil {
		return nil
	}
	var err error
	switch f.GetCode() {
	case wire.Failure_CODE_REJECTED:
		err = sdk.RejectAt(places(f), "%s", f.GetMessage())
	case wire.Failure_CODE_DEFERRED:
		return sdk.Deferred(f.GetMessage(), f.GetRetryAfter().AsDuration())
	case wire.Failure_CODE_NOT_LOADED:
		err = sdk.NotLoaded(errors.New(f.GetMessage()))
	case wire.Failure_CODE_CANCELED:
		err = &canceled{f.GetMessage()}
	default:
		err = errors.New(f.GetMessage())
		if len(f.GetPlaces()) > 0 {
			err = &sdk.Rejection{Err: err, Places: places(f), Passes: true}
		}
	}
	if f.GetRetryAfter() != nil {
		err = sdk.RetryAfter(err, f.GetRetryAfter().AsDuration())
	}
	return err
}

func places(f *wire.Failure) []sdk.Place {
	var all []sdk.Place
	for _, p := range f.GetPlaces() {
		all = append(all, sdk.Place{File: p.GetFile(), Path: p.GetPath(), Line: int(p.GetLine()), Problem: p.GetProblem()})
	}
	return all
}

type canceled struct{ message string }

func (c *canceled) Error() string { return c.message }
func (c *canceled) Unwrap() error { return context.Canceled }
