package host

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/haproxy-api/haproxy-api/plugins/internal/wire"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// sourceHealthTimeout bounds how long a source plugin may take to report its health.
const sourceHealthTimeout = 2 * time.Second

// A Source is a source in a process of its own.
type Source struct{ *supervisor }

// StartSource starts the plugin, hands it its configuration and keeps it running until [Source.Stop] or [Source.Close].
// What is wrong in the block comes back as [sdk.Faults]. ctx bounds the start alone.
func StartSource(ctx context.Context, opts Options) (*Source, error) {
	opts.kind = wire.Kind_KIND_SOURCE
	s, err := supervise(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &Source{s}, nil
}

// Watch passes on what the plugin emits. It outlasts the plugin's deaths: the catalogue as it was last seen holds until the
// plugin that was started again has seen it anew.
func (s *Source) Watch(ctx context.Context, emit func(sdk.Snapshot)) error {
	for {
		err := s.watchOnce(ctx, emit)
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

func (s *Source) watchOnce(ctx context.Context, emit func(sdk.Snapshot)) error {
	p, err := s.process()
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
		return errors.New("the plugin ended its watch without saying why")
	case status.Code(err) == codes.Unknown:
		return errors.New(wire.Truncate(status.Convert(err).Message(), wire.MaxError)) // the author's own words
	}
	err = callError(ctx, "watch by", err)
	if errors.Is(err, ErrGone) {
		// The word may be the plugin's own, about its catalogue.
		select {
		case <-p.done:
		case <-time.After(time.Second):
			return errors.New("the plugin answers that it is not available")
		}
	}
	return err
}

// Health returns what is known about the plugin's process, and the health that the plugin reports, if it does. That the
// plugin is down, or does not respond in time, is a problem like any other.
func (s *Source) Health(ctx context.Context) (sdk.Health, error) {
	health, err := s.pluginHealth(ctx)
	if err != nil {
		health = sdk.Health{Problems: []string{err.Error()}, Facts: map[string]string{}}
	}
	maps.Copy(health.Facts, s.facts())
	return health, nil
}

// pluginHealth returns the health that the plugin reports, and a health without problems if it does not report any.
func (s *Source) pluginHealth(ctx context.Context) (sdk.Health, error) {
	p, err := s.process()
	if err != nil {
		return sdk.Health{}, err
	}
	if !p.can(wire.Capability_CAPABILITY_HEALTH) {
		return sdk.Health{Facts: map[string]string{}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, sourceHealthTimeout)
	defer cancel()
	resp, err := wire.NewSourceClient(p.conn).Health(ctx, &wire.HealthRequest{})
	if err != nil {
		return sdk.Health{}, callError(ctx, "get the health of", err)
	}
	return wire.DecodeHealth(resp), nil
}

// Stop ends the plugin in order, see [Sink.Stop].
func (s *Source) Stop(ctx context.Context) error { return s.stop(ctx) }

// Close ends the plugin as a crash of the daemon would.
func (s *Source) Close() error { return s.close() }

var (
	_ sdk.Reporter = (*Source)(nil)
	_ sdk.Stopper  = (*Source)(nil)
	_ io.Closer    = (*Source)(nil)
)
