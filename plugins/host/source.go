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

// A Source is a source in a process of its own.
type Source struct{ *supervisor }

// StartSource starts the plugin, hands it its configuration and keeps it running until [Source.Stop] or [Source.Close].
// What is wrong in the block comes back as [sdk.Faults]. ctx bounds the start alone.
func StartSource(ctx context.Context, opts Options) (*Source, error) {
	opts.Kind = wire.KindSource
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

// Health tells about the plugin's program. Of the catalogue the plugin tells in its log.
func (s *Source) Health(context.Context) (sdk.Health, error) {
	health := sdk.Health{Facts: s.facts()}
	if _, err := s.process(); err != nil {
		health.Problems = []string{err.Error()}
	}
	return health, nil
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
