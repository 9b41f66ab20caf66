package serve

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type sourceServer struct {
	wire.UnimplementedSourceServer
	plugin   *pluginServer
	watching chan struct{} // one slot, taken by the Watch that is running: a cancelled one may still be running
}

func (s *sourceServer) Watch(_ *wire.WatchRequest, stream grpc.ServerStreamingServer[wire.WatchResponse]) error {
	source, ok := s.plugin.get().(sdk.Source)
	if !ok {
		return errNotConfigured
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	select {
	case s.watching <- struct{}{}:
		defer func() { <-s.watching }()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	err := source.Watch(ctx, func(snap sdk.Snapshot) {
		if err := stream.Send(&wire.WatchResponse{Snapshot: wire.EncodeSnapshot(snap)}); err != nil {
			cancel(err) // the daemon no longer reads the stream
		}
	})
	if err != nil {
		return status.Error(codes.Unknown, wire.Text(err.Error()))
	}
	return nil
}

func (s *sourceServer) Health(ctx context.Context, _ *wire.HealthRequest) (*wire.HealthResponse, error) {
	reporter, ok := s.plugin.get().(sdk.Reporter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the source does not report its health")
	}
	return health(ctx, reporter)
}
