package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// serversTimeout bounds how long HAProxy may take to report its servers. Ten thousand take it about 0.1 s.
const serversTimeout = 3 * time.Second

// Servers returns what HAProxy says of its servers, those that drain included. It takes no lock and has a connection of its own,
// so that it neither waits for a change nor delays one. Callers that come while HAProxy is being asked share the answer.
func (s *Sink) Servers(ctx context.Context) ([]sdk.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, serversTimeout)
	defer cancel()
	for {
		now := s.state.Load().running
		if !now.Alive() {
			return nil, errors.New("HAProxy is not running")
		}
		to, err := s.endpoint(now)
		if err != nil {
			return nil, fmt.Errorf("HAProxy's servers cannot be read: %w: %w", err, errors.ErrUnsupported)
		}
		key := runtimeapi.SocketKey(to.Path) + " " + strconv.Itoa(to.Worker)
		servers, err := s.servers.Do(ctx, key, func(ctx context.Context) ([]sdk.Server, error) {
			return runtimeapi.AskServers(ctx, to, now.Answered)
		})
		if err == nil || ctx.Err() != nil || s.state.Load().running.Same(now) {
			return servers, err
		} // otherwise HAProxy was reloaded meanwhile
	}
}

var _ sdk.ServerReporter = (*Sink)(nil)
