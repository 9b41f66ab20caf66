package host

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
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
		return fmt.Errorf("cannot %s the plugin: %s", what, wire.Truncate(s.Message(), wire.MaxError))
	}
}

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

// Unwrap returns what the plugin said.
func (e *StartError) Unwrap() error { return e.Err }
