package host

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

// ErrGone says that the plugin's process ended during a call, or did not run. The supervisor starts it again.
var ErrGone = errors.New("the plugin does not run and is being started again")

// A VersionError says that the plugin and the host speak different versions of the protocol.
type VersionError struct{ Plugin, Host int }

func (e *VersionError) Error() string {
	text := fmt.Sprintf("the plugin speaks protocol version %d and this haproxy-api speaks version %d: ", e.Plugin, e.Host)
	if e.Plugin < e.Host {
		return text + "install a newer release of the plugin, or build it again with plugins/sdk of this haproxy-api"
	}
	return text + "upgrade haproxy-api, or install an older release of the plugin"
}

// A StartError says that the plugin runs and cannot work at the moment, although its configuration may be right.
type StartError struct{ Err error }

func (e *StartError) Error() string { return "it cannot start at the moment: " + e.Err.Error() }

// Unwrap returns the error of the plugin.
func (e *StartError) Unwrap() error { return e.Err }

// callError converts an error of gRPC. Errors that the plugin's author returned are [wire.Failure] instead. ctx is the
// context of the call.
func callError(ctx context.Context, what string, err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable:
		return ErrGone
	case codes.Canceled:
		if ctx.Err() == nil { // the connection was closed because the program is being ended
			return ErrGone
		}
		return context.Cause(ctx)
	case codes.DeadlineExceeded:
		return fmt.Errorf("cannot %s the plugin: it did not answer in time: %w", what, context.DeadlineExceeded)
	case codes.Unimplemented:
		return fmt.Errorf("cannot %s the plugin: it does not know the call: %w", what, errors.ErrUnsupported)
	default:
		return fmt.Errorf("cannot %s the plugin: %s", what, wire.Truncate(s.Message(), wire.MaxError))
	}
}
