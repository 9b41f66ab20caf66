package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Sink is a sink in a process of its own. Its methods may be called at any time; while the process is down they return
// [ErrGone].
type Sink struct{ *supervisor }

// StartSink starts the plugin, hands it its configuration and keeps it running until [Sink.Stop] or [Sink.Close]. What is
// wrong in the block comes back as [sdk.Faults]. ctx bounds the start alone.
func StartSink(ctx context.Context, opts Options) (*Sink, error) {
	opts.kind = wire.Kind_KIND_SINK
	s, err := supervise(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &Sink{s}, nil
}

// Restarted receives after the plugin died and runs again: it knows no document then.
func (s *Sink) Restarted() <-chan struct{} { return s.restarted }

// Lost receives what the plugin lost, see [sdk.Notifier]; of what comes faster than it is read only the newest.
func (s *Sink) Lost() <-chan sdk.Lost { return s.lost }

// Apply offers doc to the plugin, however long that takes: a proxy may be slow to load. A plugin that takes minutes is asked
// for its health now and then, and killed when it does not answer that either. Once ctx is done the plugin is told to stop, and
// Apply returns what it answers then; a plugin that goes on for half a minute is killed.
func (s *Sink) Apply(ctx context.Context, doc sdk.Document) (sdk.Result, error) {
	p, err := s.process()
	if err != nil {
		return sdk.Result{}, err
	}
	if ctx.Err() != nil {
		return sdk.Result{}, context.Cause(ctx)
	}
	s.offered.Store(doc.Generation)
	began := time.Now()
	call, release := s.whileAlive(context.WithoutCancel(ctx), p, ctx.Done())
	defer release()
	resp, err := wire.NewSinkClient(p.conn).Apply(call, &wire.ApplyRequest{Document: wire.EncodeDocument(doc)})
	if err != nil {
		return sdk.Result{}, callError(call, "reach", err)
	}
	return wire.DecodeResult(resp.GetResult(), time.Since(began)), wire.DecodeError(resp.GetFailure())
}

// Reread has the plugin load again what its program reads beside the document. It returns an error that wraps
// [errors.ErrUnsupported] where the plugin does not know what that is. What is said of time and of ctx at Apply holds here.
func (s *Sink) Reread(ctx context.Context, watched sdk.Watched) (sdk.Result, error) {
	p, err := s.process()
	if err != nil {
		return sdk.Result{}, err
	}
	if !p.can(wire.Capability_CAPABILITY_REREAD) {
		return sdk.Result{}, fmt.Errorf("the plugin %s cannot load files again: %w", p.info.Name, errors.ErrUnsupported)
	}
	if ctx.Err() != nil {
		return sdk.Result{}, context.Cause(ctx)
	}
	began := time.Now()
	call, release := s.whileAlive(context.WithoutCancel(ctx), p, ctx.Done())
	defer release()
	resp, err := wire.NewSinkClient(p.conn).Reread(call, wire.EncodeWatched(watched))
	if err != nil {
		return sdk.Result{}, callError(call, "reach", err)
	}
	return wire.DecodeResult(resp.GetResult(), time.Since(began)), wire.DecodeError(resp.GetFailure())
}

// Check asks the plugin to judge doc, for some minutes at most. It returns an error that wraps [errors.ErrUnsupported] where
// the plugin cannot tell. What is said of health at Apply holds here.
func (s *Sink) Check(ctx context.Context, doc sdk.Document) error {
	p, err := s.process()
	if err != nil {
		return err
	}
	if !p.can(wire.Capability_CAPABILITY_CHECK) {
		return fmt.Errorf("the plugin %s cannot check a document: %w", p.info.Name, errors.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	ctx, release := s.whileAlive(ctx, p, nil)
	defer release()
	resp, err := wire.NewSinkClient(p.conn).Check(ctx, &wire.CheckRequest{Document: wire.EncodeDocument(doc)})
	if err != nil {
		return callError(ctx, "reach", err)
	}
	return wire.DecodeError(resp.GetFailure())
}

// Claim has the plugin make itself the only one on what it manages, now and whenever it is started again. A plugin whose
// first start is slow is waited for, for some seconds; one that is down does it when it starts, and one that cannot tell is
// left alone. One that does not answer within some seconds is an error; with Outlast it is killed, and does it when it starts
// again.
func (s *Sink) Claim(ctx context.Context) error {
	p := s.claim()
	if p == nil {
		return unlessGone(s.firstTry(ctx))
	}
	err := p.claim(ctx)
	if s.opts.Outlast && errors.Is(err, context.DeadlineExceeded) {
		return p.program.Kill(ctx)
	}
	return unlessGone(err)
}

// unlessGone takes no offence at a plugin that ended.
func unlessGone(err error) error {
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Health asks the plugin, and adds what is known about its program. That the program is down, or does not answer, is a
// problem like any other.
func (s *Sink) Health(ctx context.Context) (sdk.Health, error) {
	health, err := s.PluginHealth(ctx)
	if err != nil {
		return sdk.Health{Problems: []string{err.Error()}, Facts: s.facts()}, nil
	}
	maps.Copy(health.Facts, s.facts())
	return health, nil
}

// PluginHealth returns the plugin's own answer. It is an error when there is none.
func (s *Sink) PluginHealth(ctx context.Context) (sdk.Health, error) {
	p, err := s.process()
	if err != nil {
		return sdk.Health{}, err
	}
	resp, err := wire.NewSinkClient(p.conn).Health(ctx, &wire.HealthRequest{})
	if err != nil {
		return sdk.Health{}, callError(ctx, "ask", err)
	}
	return wire.DecodeHealth(resp), nil
}

// Stop ends the plugin: it is told, given until ctx is done to release what it should, then a second to end, and killed if
// it stays.
func (s *Sink) Stop(ctx context.Context) error { return s.stop(ctx) }

// Close ends the plugin as a crash of the daemon would: it releases nothing.
func (s *Sink) Close() error { return s.close() }

var (
	_ sdk.Sink     = (*Sink)(nil)
	_ sdk.Checker  = (*Sink)(nil)
	_ sdk.Rereader = (*Sink)(nil)
	_ sdk.Claimer  = (*Sink)(nil)
	_ sdk.Stopper  = (*Sink)(nil)
	_ io.Closer    = (*Sink)(nil)
)
