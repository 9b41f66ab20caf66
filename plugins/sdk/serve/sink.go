package serve

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type sinkServer struct {
	wire.UnimplementedSinkServer
	plugin *pluginServer

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the Apply or Reread that is running; nil for none
}

// errCanceled is the cause that a cancelled Apply finds in its context.
var errCanceled = fmt.Errorf("the daemon no longer waits for this document: %w", context.Canceled)

func (s *sinkServer) Cancel(context.Context, *wire.CancelRequest) (*wire.CancelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(errCanceled)
	}
	return &wire.CancelResponse{}, nil
}

func (s *sinkServer) Apply(ctx context.Context, req *wire.ApplyRequest) (*wire.ApplyResponse, error) {
	sink, ok := s.plugin.get().(sdk.Sink)
	if !ok {
		return nil, errNotConfigured
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := sink.Apply(ctx, wire.DecodeDocument(req.GetDocument()))
	return &wire.ApplyResponse{Result: wire.EncodeResult(result), Failure: wire.EncodeError(err)}, nil
}

func (s *sinkServer) Reread(ctx context.Context, req *wire.RereadRequest) (*wire.RereadResponse, error) {
	rereader, ok := s.plugin.get().(sdk.Rereader)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink cannot reread files")
	}
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := rereader.Reread(ctx, wire.DecodeWatched(req))
	return &wire.RereadResponse{Result: wire.EncodeResult(result), Failure: wire.EncodeError(err)}, nil
}

// begin waits until no other call changes anything. It returns a context that Cancel cancels. done ends the call.
func (s *sinkServer) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case s.plugin.applying <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, status.FromContextError(ctx.Err()).Err()
	}
	if ctx.Err() != nil {
		<-s.plugin.applying
		return nil, nil, status.FromContextError(ctx.Err()).Err()
	}
	ctx, cancel := context.WithCancelCause(wire.ReceiveTraceParent(ctx))
	s.setCancel(cancel)
	return ctx, func() {
		s.setCancel(nil)
		cancel(nil)
		<-s.plugin.applying
	}, nil
}

func (s *sinkServer) setCancel(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

func (s *sinkServer) Check(ctx context.Context, req *wire.CheckRequest) (*wire.CheckResponse, error) {
	checker, ok := s.plugin.get().(sdk.Checker)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink cannot check a document")
	}
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	return &wire.CheckResponse{Failure: wire.EncodeError(checker.Check(ctx, wire.DecodeDocument(req.GetDocument())))}, nil
}

func (s *sinkServer) Claim(ctx context.Context, _ *wire.ClaimRequest) (*wire.ClaimResponse, error) {
	claimer, ok := s.plugin.get().(sdk.Claimer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink cannot claim what it manages")
	}
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	return &wire.ClaimResponse{Failure: wire.EncodeError(claimer.Claim(ctx))}, nil
}

func (s *sinkServer) Health(ctx context.Context, _ *wire.HealthRequest) (*wire.HealthResponse, error) {
	sink, ok := s.plugin.get().(sdk.Sink)
	if !ok {
		return nil, errNotConfigured
	}
	return health(ctx, sink)
}

func (s *sinkServer) Servers(ctx context.Context, _ *wire.ServersRequest) (*wire.ServersResponse, error) {
	reporter, ok := s.plugin.get().(sdk.ServerReporter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink does not know the servers of its program")
	}
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	servers, err := reporter.Servers(ctx)
	return &wire.ServersResponse{Servers: wire.EncodeServers(servers), Failure: wire.EncodeError(err)}, nil
}

// health returns the health of a sink or a source.
func health(ctx context.Context, reporter interface {
	Health(context.Context) (sdk.Health, error)
}) (*wire.HealthResponse, error) {
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	health, err := reporter.Health(ctx)
	if err != nil {
		return nil, status.Error(codes.Unknown, wire.Text(err.Error()))
	}
	return wire.EncodeHealth(health), nil
}
