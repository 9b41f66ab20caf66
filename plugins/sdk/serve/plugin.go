package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// pluginServer serves the calls that every plugin has, and registers the server of its sink or source.
type pluginServer struct {
	plugin.NetRPCUnsupportedPlugin
	wire.UnimplementedPluginServer

	info     sdk.Info
	kind     wire.Kind
	log      *slog.Logger
	open     func(sdk.Env, sdk.Block) (any, error)
	attached func()
	stderr   *os.File // as it was before go-plugin replaced it
	lost     lostSlot
	events   chan sdk.Event // the newest ones that were not sent yet
	applying chan struct{}  // one slot, taken by the call that changes something: a cancelled one may still be running

	releaseOnce sync.Once
	released    chan struct{} // closed when the daemon has ended

	mu     sync.Mutex
	opened any // the author's Sink or Source once it is configured
}

// newPluginServer returns a server that opens the author's sink or source with ctx, which lives as long as the plugin.
func newPluginServer(ctx context.Context, info sdk.Info, kind wire.Kind, open openFunc) *pluginServer {
	return &pluginServer{
		info: info, kind: kind, log: newLogger(), stderr: os.Stderr,
		open: func(env sdk.Env, block sdk.Block) (any, error) { return open(ctx, env, block) },
		lost: lostSlot{ready: make(chan struct{}, 1)}, events: make(chan sdk.Event, maxEvents),
		applying: make(chan struct{}, 1), released: make(chan struct{}),
	}
}

func (p *pluginServer) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	wire.RegisterPluginServer(s, p)
	if p.kind == wire.Kind_KIND_SINK {
		wire.RegisterSinkServer(s, &sinkServer{plugin: p})
	} else {
		wire.RegisterSourceServer(s, &sourceServer{plugin: p, watching: make(chan struct{}, 1)})
	}
	return nil
}

// GRPCClient is the daemon's side, which package host implements: a plugin never dials.
func (p *pluginServer) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, plugin.ErrProcessNotFound
}

func (p *pluginServer) Configure(_ context.Context, req *wire.ConfigureRequest) (*wire.ConfigureResponse, error) {
	resp := &wire.ConfigureResponse{Name: wire.Text(p.info.Name), Version: wire.Text(p.info.Version), Kind: p.kind}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened != nil {
		return nil, status.Error(codes.FailedPrecondition,
			"the plugin is already configured: start it again for another configuration")
	}
	var block sdk.Block
	decoder := json.NewDecoder(bytes.NewReader(req.GetBlock()))
	decoder.UseNumber()
	if err := decoder.Decode(&block); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the configuration block is not a JSON object: %v", err)
	}
	p.restoreStandardStreams()
	opened, err := p.open(sdk.Env{Name: req.GetName(), Log: p.log, StateDir: req.GetStateDir()}, block)
	if faults := faultsOf(err); len(faults) > 0 {
		resp.Faults = wire.EncodeFaults(faults)
		return resp, nil
	}
	if err != nil {
		resp.Failure = wire.EncodeError(err)
		return resp, nil
	}
	resp.Capabilities = capabilitiesOf(opened)
	if n, ok := opened.(sdk.Notifier); ok {
		n.OnLost(p.lost.put)
	}
	if r, ok := opened.(sdk.EventReporter); ok {
		r.OnEvent(p.putEvent)
	}
	p.opened = opened
	return resp, nil
}

// faultsOf returns the faults of the configuration that err reports, and nothing for an error that may be temporary.
func faultsOf(err error) sdk.Faults {
	if faults, ok := errors.AsType[sdk.Faults](err); ok {
		return faults
	}
	if !errors.Is(err, sdk.ErrRejected) {
		return nil
	}
	var all sdk.Faults
	for _, e := range joinedIn(err) {
		all = append(all, sdk.Fault{Problem: e.Error()})
	}
	return all
}

// joinedIn returns the errors that are joined in err, and err itself if it joins none.
func joinedIn(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if _, isRejection := err.(*sdk.Rejection); isRejection || !ok { //nolint:errorlint // a wrapped one is part of a text
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, joinedIn(e)...)
	}
	return all
}

func capabilitiesOf(opened any) []wire.Capability {
	var all []wire.Capability
	if _, ok := opened.(sdk.Checker); ok {
		all = append(all, wire.Capability_CAPABILITY_CHECK)
	}
	if _, ok := opened.(sdk.Claimer); ok {
		all = append(all, wire.Capability_CAPABILITY_CLAIM)
	}
	if _, ok := opened.(sdk.Rereader); ok {
		all = append(all, wire.Capability_CAPABILITY_REREAD)
	}
	if _, ok := opened.(sdk.Reporter); ok {
		all = append(all, wire.Capability_CAPABILITY_HEALTH)
	}
	if _, ok := opened.(sdk.ServerReporter); ok {
		all = append(all, wire.Capability_CAPABILITY_SERVERS)
	}
	return all
}

// restoreStandardStreams undoes what go-plugin does to the standard streams when it serves: text in its pipes is lost when the
// process ends soon afterwards, as in a panic. The protocol no longer uses standard output, so both lead to the daemon's log.
func (p *pluginServer) restoreStandardStreams() { os.Stdout, os.Stderr = p.stderr, p.stderr }

// Attach sends what the sink reports as lost, and its events. It returns when the daemon ends the call, which ends the process:
// see serve.
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
			if err := stream.Send(wire.EncodeLost(p.lost.take())); err != nil {
				return err
			}
		case event := <-p.events:
			if err := stream.Send(wire.EncodeEvent(event)); err != nil {
				return err
			}
		}
	}
}

func (p *pluginServer) release() { p.releaseOnce.Do(func() { close(p.released) }) }

func (p *pluginServer) Stop(ctx context.Context, _ *wire.StopRequest) (*wire.StopResponse, error) {
	ctx, cancel := withEarlierDeadline(ctx)
	defer cancel()
	if s, ok := p.get().(sdk.Stopper); ok {
		if err := s.Stop(ctx); err != nil {
			return nil, status.Error(codes.Unknown, wire.Text(err.Error()))
		}
	}
	// The process ends after the answer. A cancelled Apply that is still running may have files to remove.
	select {
	case p.applying <- struct{}{}:
		<-p.applying
	case <-ctx.Done():
	}
	return &wire.StopResponse{}, nil
}

// get returns the author's sink or source, and nil before it is configured.
func (p *pluginServer) get() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

var errNotConfigured = status.Error(codes.FailedPrecondition, "the plugin is not configured: call Configure first")

// withEarlierDeadline returns ctx with a deadline that leaves time for the answer to arrive before the caller's deadline.
func withEarlierDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Second, time.Until(deadline)/4)))
}

// maxEvents is how many events wait to be sent.
const maxEvents = 64

// putEvent has Attach send e. If too many events wait, the oldest is dropped.
func (p *pluginServer) putEvent(e sdk.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	for {
		select {
		case p.events <- e:
			return
		default:
		}
		select {
		case <-p.events:
		default:
		}
	}
}

// lostSlot keeps the newest [sdk.Lost] that was not sent yet.
type lostSlot struct {
	ready chan struct{} // has an element while there is one

	mu     sync.Mutex
	newest sdk.Lost
}

func (s *lostSlot) put(l sdk.Lost) {
	s.mu.Lock()
	s.newest = l
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default: // the previous one was not sent yet
	}
}

func (s *lostSlot) take() sdk.Lost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

var _ plugin.GRPCPlugin = (*pluginServer)(nil)
