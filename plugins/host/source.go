package host

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// sourceHealthTimeout bounds how long a source may take to report its health.
const sourceHealthTimeout = 2 * time.Second

// A Source is a source in a process of its own.
type Source struct{ *supervisor }

// StartSource starts and configures the plugin, and keeps it running until [Source.Stop] or [Source.Close]. It returns the
// errors of [StartSink]. ctx bounds only the start.
func StartSource(ctx context.Context, opts Options) (*Source, error) {
	opts.kind = wire.Kind_KIND_SOURCE
	s, err := supervise(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &Source{s}, nil
}

// Watch emits the snapshots of the plugin. When the plugin ends, Watch waits for its restart: the newest snapshot stays valid
// until the restarted plugin emits another one.
func (s *Source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	for {
		err := s.watchProcess(ctx, emit)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, ErrGone):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.restarted:
		}
	}
}

// watchProcess emits the snapshots of the current process until its watch ends.
func (s *Source) watchProcess(ctx context.Context, emit func(sdk.Snapshot)) error {
	p, err := s.currentProcess()
	if err != nil {
		return err
	}
	stream, err := wire.NewSourceClient(p.conn).Watch(ctx, &wire.WatchRequest{}, grpc.MaxCallRecvMsgSize(maxSnapshot))
	for err == nil {
		var resp *wire.WatchResponse
		if resp, err = stream.Recv(); err == nil {
			snap := wire.DecodeSnapshot(resp.GetSnapshot())
			snap.Source = s.opts.Name
			if snap.Taken.IsZero() {
				snap.Taken = time.Now()
			}
			emit(snap)
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the plugin ended its watch without an error")
	case status.Code(err) == codes.Unknown: // the error of the plugin's own Watch
		return errors.New(wire.Truncate(status.Convert(err).Message(), wire.MaxError))
	}
	err = callError(ctx, "watch by", err)
	if errors.Is(err, ErrGone) {
		// The plugin itself may have responded with this code, because its registry is not available.
		select {
		case <-p.done:
		case <-time.After(time.Second):
			return errors.New("the plugin reports that it is not available")
		}
	}
	return err
}

// Health returns the health that the plugin reports, if it does, with facts about its process. That the plugin does not run,
// or does not respond in time, is a problem like any other.
func (s *Source) Health(ctx context.Context) (sdk.Health, error) {
	return s.addFacts(s.pluginHealth(ctx)), nil
}

// pluginHealth returns the health that the plugin reports, and no problems if it does not report its health.
func (s *Source) pluginHealth(ctx context.Context) (sdk.Health, error) {
	p, err := s.currentProcess()
	if err != nil || !p.can(wire.Capability_CAPABILITY_HEALTH) {
		return sdk.Health{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sourceHealthTimeout)
	defer cancel()
	resp, err := wire.NewSourceClient(p.conn).Health(ctx, &wire.HealthRequest{})
	if err != nil {
		return sdk.Health{}, callError(ctx, "ask", err)
	}
	return wire.DecodeHealth(resp), nil
}

var (
	_ sdk.Reporter = (*Source)(nil)
	_ sdk.Stopper  = (*Source)(nil)
	_ io.Closer    = (*Source)(nil)
)
