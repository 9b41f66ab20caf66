package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
)

func (p *pluginServer) Configure(_ context.Context, req *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	resp := &wire.ConfigureResponse{Name: text(p.info.Name), Version: text(p.info.Version), Kind: p.kind}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened != nil {
		return nil, status.Error(codes.FailedPrecondition,
			"the plugin is configured already: start it anew for another configuration")
	}
	var block Block
	decoder := json.NewDecoder(bytes.NewReader(req.GetBlock()))
	decoder.UseNumber()
	if err := decoder.Decode(&block); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the configuration block is not a JSON object: %v", err)
	}
	p.keepStderr()
	opened, err := p.open(Env{Name: req.GetName(), Log: p.log}, block)
	if err != nil {
		if _, faulty := errors.AsType[Faults](err); !faulty && !errors.Is(err, ErrRejected) {
			resp.Failure = failureToWire(err)
			return resp, nil
		}
		for _, f := range faultsOf(err) {
			resp.Faults = append(resp.Faults, &wire.Fault{Key: text(f.Key), Problem: text(f.Problem)})
		}
		return resp, nil
	}
	resp.Capabilities = capabilitiesOf(opened)
	if n, ok := opened.(Notifier); ok {
		n.OnLost(p.lost.put)
	}
	p.opened = opened
	return resp, nil
}

func capabilitiesOf(opened any) []wire.Capability {
	var all []wire.Capability
	if _, ok := opened.(Checker); ok {
		all = append(all, wire.Capability_CAPABILITY_CHECK)
	}
	if _, ok := opened.(Claimer); ok {
		all = append(all, wire.Capability_CAPABILITY_CLAIM)
	}
	if _, ok := opened.(Rereader); ok {
		all = append(all, wire.Capability_CAPABILITY_REREAD)
	}
	return all
}

// keepStderr undoes what go-plugin does to the standard streams when it serves: what is written to its pipes is lost when the
// process ends soon after, as it does in a panic. Standard output is the protocol's no longer, and goes the same way.
func (p *pluginServer) keepStderr() { os.Stdout, os.Stderr = p.stderr, p.stderr }

// early returns ctx with a deadline that leaves time for an answer to arrive before the caller's.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/4)))
}

// Attach sends what the sink lost. It returns when the daemon lets go, which ends the process: see serve.
func (p *pluginServer) Attach(_ *wire.AttachRequest, stream grpc.ServerStreamingServer[wire.AttachEvent]) error {
	p.attached()
	if err := stream.Send(&wire.AttachEvent{}); err != nil {
		return err
	}
	defer p.release()
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case <-p.lost.ready:
			lost := p.lost.take()
			if lost.Err == nil {
				lost.Err = errLostForNoReason
			}
			event := &wire.AttachEvent{Lost: failureToWire(lost.Err), Generation: lost.Generation, Digest: lost.Digest}
			if err := stream.Send(event); err != nil {
				return err
			}
		}
	}
}

var errLostForNoReason = errors.New("the sink does not say why")

func (p *pluginServer) Stop(ctx context.Context, _ *wire.StopRequest) (*wire.StopResponse, error) {
	ctx, cancel := early(ctx)
	defer cancel()
	if s, ok := p.get().(Stopper); ok {
		if err := s.Stop(ctx); err != nil {
			return nil, status.Error(codes.Unknown, text(err.Error()))
		}
	}
	// The process ends with the answer. An Apply that is on its way out may have files to clear away.
	select {
	case p.turn <- struct{}{}:
		<-p.turn
	case <-ctx.Done():
	}
	return &wire.StopResponse{}, nil
}

func (p *pluginServer) get() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

var errNotConfigured = status.Error(codes.FailedPrecondition, "the plugin is not configured: call Configure first")

type sinkServer struct {
	wire.UnimplementedSinkServer
	plugin *pluginServer

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the Apply that is under way; nil for none
}

func (s *sinkServer) setCancel(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
}

// errUnwanted is the cause that a cancelled Apply finds.
var errUnwanted = fmt.Errorf("the daemon no longer waits for this document: %w", context.Canceled)

func (s *sinkServer) Cancel(context.Context, *wire.CancelRequest) (*wire.CancelResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(errUnwanted)
	}
	return &wire.CancelResponse{}, nil
}

func (s *sinkServer) Apply(ctx context.Context, req *wire.ApplyRequest) (*wire.ApplyResponse, error) {
	sink, ok := s.plugin.get().(Sink)
	if !ok {
		return nil, errNotConfigured
	}
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := sink.Apply(ctx, documentFromWire(req.GetDocument()))
	return &wire.ApplyResponse{Result: resultToWire(result), Failure: failureToWire(err)}, nil
}

func (s *sinkServer) Reread(ctx context.Context, req *wire.RereadRequest) (*wire.RereadResponse, error) {
	rereader, ok := s.plugin.get().(Rereader)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink does not know what its program reads beside the document")
	}
	ctx, done, err := s.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := rereader.Reread(ctx, Watched{ID: req.GetWatched(), Changed: req.GetChanged()})
	return &wire.RereadResponse{Result: resultToWire(result), Failure: failureToWire(err)}, nil
}

// takeTurn waits until no other call changes anything. It returns a context that Cancel ends too. done ends the turn.
func (s *sinkServer) takeTurn(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case s.plugin.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, status.FromContextError(ctx.Err()).Err()
	}
	if ctx.Err() != nil {
		<-s.plugin.turn
		return nil, nil, status.FromContextError(ctx.Err()).Err()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.setCancel(cancel)
	return ctx, func() {
		s.setCancel(nil)
		cancel(nil)
		<-s.plugin.turn
	}, nil
}

func resultToWire(r Result) *wire.Result {
	return &wire.Result{
		Action: text(r.Action), Reason: text(r.Reason), Took: durationpb.New(r.Took), Details: texts(r.Details),
	}
}

func (s *sinkServer) Check(ctx context.Context, req *wire.CheckRequest) (*wire.CheckResponse, error) {
	checker, ok := s.plugin.get().(Checker)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink cannot check a document")
	}
	ctx, cancel := early(ctx)
	defer cancel()
	return &wire.CheckResponse{Failure: failureToWire(checker.Check(ctx, documentFromWire(req.GetDocument())))}, nil
}

func (s *sinkServer) Claim(ctx context.Context, _ *wire.ClaimRequest) (*wire.ClaimResponse, error) {
	claimer, ok := s.plugin.get().(Claimer)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "the sink cannot tell who else manages the same")
	}
	ctx, cancel := early(ctx)
	defer cancel()
	return &wire.ClaimResponse{Failure: failureToWire(claimer.Claim(ctx))}, nil
}

func (s *sinkServer) Health(ctx context.Context, _ *wire.HealthRequest) (*wire.HealthResponse, error) {
	sink, ok := s.plugin.get().(Sink)
	if !ok {
		return nil, errNotConfigured
	}
	ctx, cancel := early(ctx)
	defer cancel()
	health, err := sink.Health(ctx)
	if err != nil {
		return nil, status.Error(codes.Unknown, text(err.Error()))
	}
	return &wire.HealthResponse{Problems: texts(health.Problems), Facts: textsOf(health.Facts)}, nil
}

type sourceServer struct {
	wire.UnimplementedSourceServer
	plugin   *pluginServer
	watching chan struct{} // has a place for the Watch that runs: a cancelled one may still be on its way out
}

func (s *sourceServer) Watch(_ *wire.WatchRequest, stream grpc.ServerStreamingServer[wire.WatchResponse]) error {
	source, ok := s.plugin.get().(Source)
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
	err := source.Watch(ctx, func(snap Snapshot) {
		if err := stream.Send(&wire.WatchResponse{Snapshot: snapshotToWire(snap)}); err != nil {
			cancel(err) // nobody listens any more
		}
	})
	if err != nil {
		return status.Error(codes.Unknown, text(err.Error()))
	}
	return nil
}
