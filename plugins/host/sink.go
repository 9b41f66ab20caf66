package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Sink is a sink in a process of its own. Its methods may be called at any time; while the process does not run they return
// [ErrGone].
type Sink struct{ *supervisor }

// StartSink starts and configures the plugin, and keeps it running until [Sink.Stop] or [Sink.Close]. It returns the faults
// of the block as [sdk.Faults], and a plugin of another protocol version as [VersionError]. ctx bounds only the start.
func StartSink(ctx context.Context, opts Options) (*Sink, error) {
	opts.kind = wire.Kind_KIND_SINK
	s, err := supervise(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &Sink{s}, nil
}

// Restarted receives a value when the plugin runs again after it was down. The plugin has lost its state.
func (s *Sink) Restarted() <-chan struct{} { return s.restarted }

// Lost receives what the plugin has lost, see [sdk.Notifier]. A newer report replaces one that was not received yet.
func (s *Sink) Lost() <-chan sdk.Lost { return s.lost }

// Events receives what happens to the plugin's program, see [sdk.EventReporter]. If too many events were not received yet, the
// oldest are dropped.
func (s *Sink) Events() <-chan sdk.Event { return s.events }

// Apply makes the plugin apply doc. It has no deadline, because a proxy may load slowly. The plugin is killed if it does not
// respond to Health, which Apply calls every few minutes. Once ctx is done the plugin must stop, and Apply returns its response;
// a plugin that continues for half a minute is killed.
func (s *Sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	p, err := s.currentProcess()
	if err != nil {
		return sdk.Result{}, err
	}
	return s.change(ctx, p, func(ctx context.Context, client wire.SinkClient) (outcome, error) {
		s.newestGeneration.Store(doc.Generation)
		return client.Apply(ctx, &wire.ApplyRequest{Document: wire.EncodeDocument(doc)})
	})
}

// Reread has the plugin load again what its program reads beside the document. It returns an error that wraps
// [errors.ErrUnsupported] if the plugin cannot do that. Duration and cancellation are those of Apply.
func (s *Sink) Reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	p, err := s.currentProcess()
	if err != nil {
		return sdk.Result{}, err
	}
	if !p.can(wire.Capability_CAPABILITY_REREAD) {
		return sdk.Result{}, fmt.Errorf("the plugin %s cannot load files again: %w", p.info.Name, errors.ErrUnsupported)
	}
	return s.change(ctx, p, func(ctx context.Context, client wire.SinkClient) (outcome, error) {
		return client.Reread(ctx, wire.EncodeWatched(watched))
	})
}

// outcome is the response of a call that changes something.
type outcome interface {
	GetResult() *wire.Result
	GetFailure() *wire.Failure
}

// change makes a call that may take long and that the end of ctx cancels.
func (s *Sink) change(
	ctx context.Context, p *process, call func(context.Context, wire.SinkClient) (outcome, error),
) (sdk.Result, error) {
	if ctx.Err() != nil {
		return sdk.Result{}, context.Cause(ctx)
	}
	began := time.Now()
	callCtx, release := s.startLongCall(context.WithoutCancel(ctx), p, ctx.Done())
	defer release()
	resp, err := call(wire.SendTraceParent(callCtx), wire.NewSinkClient(p.conn))
	if err != nil {
		return sdk.Result{}, callError(callCtx, "reach", err)
	}
	return wire.DecodeResult(resp.GetResult(), time.Since(began)), wire.DecodeError(resp.GetFailure())
}

// Check makes the plugin check doc, for some minutes at most. It returns an error that wraps [errors.ErrUnsupported] if the
// plugin cannot check it. The plugin must respond to Health meanwhile, as during Apply.
func (s *Sink) Check(ctx context.Context, doc sdk.Document) error {
	p, err := s.currentProcess()
	if err != nil {
		return err
	}
	if !p.can(wire.Capability_CAPABILITY_CHECK) {
		return fmt.Errorf("the plugin %s cannot check a document: %w", p.info.Name, errors.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	ctx, release := s.startLongCall(ctx, p, nil)
	defer release()
	resp, err := wire.NewSinkClient(p.conn).Check(ctx, &wire.CheckRequest{Document: wire.EncodeDocument(doc)})
	if err != nil {
		return callError(ctx, "reach", err)
	}
	return wire.DecodeError(resp.GetFailure())
}

// Claim makes the plugin claim what it manages, now and after each restart. It waits some seconds for a first start that takes
// long. A plugin that does not run claims when it starts, and one without the capability never does. If the plugin does not
// respond within some seconds, Claim returns an error; with RetryStart it kills the plugin instead, which claims after the
// restart.
func (s *Sink) Claim(ctx context.Context) error {
	p := s.requireClaim()
	if p == nil {
		return ignoreGone(s.awaitFirstStart(ctx))
	}
	err := p.claim(ctx)
	if s.opts.RetryStart && errors.Is(err, context.DeadlineExceeded) {
		return p.program.Kill(ctx)
	}
	return ignoreGone(err)
}

// ignoreGone returns nil for a plugin that ended: it claims when it starts again.
func ignoreGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Health returns the health that the plugin reports, with facts about its process. That the plugin does not run, or does not
// respond, is a problem like any other.
func (s *Sink) Health(ctx context.Context) (sdk.Health, error) {
	return s.addFacts(s.PluginHealth(ctx)), nil
}

// PluginHealth returns the health that the plugin reports, and an error if there is no response.
func (s *Sink) PluginHealth(ctx context.Context) (sdk.Health, error) {
	p, err := s.currentProcess()
	if err != nil {
		return sdk.Health{}, err
	}
	resp, err := wire.NewSinkClient(p.conn).Health(ctx, &wire.HealthRequest{})
	if err != nil {
		return sdk.Health{}, callError(ctx, "ask", err)
	}
	return wire.DecodeHealth(resp), nil
}

// Servers returns the servers of the plugin's program, within a few seconds and also while Apply runs. It returns an error that
// wraps [errors.ErrUnsupported] if the plugin does not know them.
func (s *Sink) Servers(ctx context.Context) ([]sdk.Server, error) {
	p, err := s.currentProcess()
	if err != nil {
		return nil, err
	}
	if !p.can(wire.Capability_CAPABILITY_SERVERS) {
		return nil, fmt.Errorf("the plugin %s does not know the servers of its program: %w", p.info.Name, errors.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, serversTimeout)
	defer cancel()
	resp, err := wire.NewSinkClient(p.conn).Servers(ctx, &wire.ServersRequest{})
	if err != nil {
		return nil, callError(ctx, "ask", err)
	}
	return wire.DecodeServers(resp.GetServers()), wire.DecodeError(resp.GetFailure())
}

var (
	_ sdk.Sink           = (*Sink)(nil)
	_ sdk.Checker        = (*Sink)(nil)
	_ sdk.Rereader       = (*Sink)(nil)
	_ sdk.Claimer        = (*Sink)(nil)
	_ sdk.ServerReporter = (*Sink)(nil)
	_ sdk.Stopper        = (*Sink)(nil)
	_ io.Closer          = (*Sink)(nil)
)
