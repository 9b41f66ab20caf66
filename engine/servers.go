package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// serversFresh is how long the servers that a sink reported are used without asking it again.
	serversFresh = 2 * time.Second
	// serversStale is how long they are used if it does not answer.
	serversStale = time.Minute
	// serversTimeout bounds how long a caller waits for the sink.
	serversTimeout = time.Second
)

var errServersTimeout = errors.New("the sink does not answer")

// Servers returns the servers of the program of the named pipeline's sink. It asks the sink at most once in two seconds and waits
// for a second at most. With an error the servers are those of an earlier answer, if that is less than a minute old. The error
// is [ErrNoPipeline], or [errors.ErrUnsupported] if the sink does not report servers. The caller must not modify the result.
func (e *Engine) Servers(ctx context.Context, pipeline string) ([]sdk.Server, error) {
	p, err := e.pipeline(pipeline)
	if err != nil {
		return nil, err
	}
	reporter, ok := p.sink.(sdk.ServerReporter)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return p.servers.get(ctx, reporter)
}

// A serverCache keeps what a sink reported last.
type serverCache struct {
	calls singleflight.Group

	mu      sync.Mutex
	servers []sdk.Server
	at      time.Time // of servers
	err     error     // of the last call
	ended   time.Time // when the last call ended, or its callers gave up
}

func (c *serverCache) get(ctx context.Context, reporter sdk.ServerReporter) ([]sdk.Server, error) {
	if servers, err, ok := c.cached(); ok {
		return servers, err
	}
	ctx, cancel := context.WithTimeout(ctx, serversTimeout)
	defer cancel()
	select {
	case <-c.calls.DoChan("", func() (any, error) {
		if _, _, fresh := c.cached(); !fresh { // another call may have ended meanwhile
			c.call(context.WithoutCancel(ctx), reporter)
		}
		return nil, nil
	}):
	case <-ctx.Done():
		c.gaveUp(ctx.Err())
	}
	servers, err, _ := c.cached()
	return servers, err
}

// cached returns what is known, and whether that is fresh enough.
func (c *serverCache) cached() (servers []sdk.Server, err error, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < serversStale || c.err == nil {
		servers = c.servers
	}
	return servers, c.err, time.Since(c.ended) < serversFresh
}

// call asks the sink.
func (c *serverCache) call(ctx context.Context, reporter sdk.ServerReporter) {
	ctx, cancel := context.WithTimeout(ctx, serversTimeout)
	defer cancel()
	servers, err := reporter.Servers(ctx)
	if ctx.Err() != nil {
		err = errServersTimeout
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.ended = err, time.Now()
	if err == nil {
		c.servers, c.at = servers, c.ended
	}
}

// gaveUp records that a caller did not wait for the sink any longer. Later callers do not wait until the answer is due again.
func (c *serverCache) gaveUp(err error) {
	if !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.ended = errServersTimeout, time.Now()
}
