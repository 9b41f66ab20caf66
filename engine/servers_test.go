package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// fakeReporter reports a server whose name is the number of the call. The calls block while hung is not closed.
type fakeReporter struct {
	calls atomic.Int64

	mu   sync.Mutex
	err  error
	hung chan struct{}
}

func (r *fakeReporter) set(err error, hung chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.hung = err, hung
}

func (r *fakeReporter) Servers(context.Context) ([]sdk.Server, error) {
	n := r.calls.Add(1)
	r.mu.Lock()
	err, hung := r.err, r.hung
	r.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return []sdk.Server{{Weight: int(n)}}, err
}

// getFrom returns which call the servers come from, which is 0 for none, and how long that took.
func (c *serverCache) getFrom(t *testing.T, reporter sdk.ServerReporter) (call int, took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	servers, err := c.get(t.Context(), reporter)
	if len(servers) > 0 {
		call = servers[0].Weight
	}
	return call, time.Since(began), err
}

func TestServerCache_AsksAtMostEveryTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reporter := &serverCache{}, &fakeReporter{}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if call, _, err := c.getFrom(t, reporter); call != 1 || err != nil {
					t.Errorf("got call %d, %v", call, err)
				}
			})
		}
		wg.Wait()
		time.Sleep(serversFresh)
		if call, _, err := c.getFrom(t, reporter); call != 2 || err != nil {
			t.Errorf("after a while: got call %d, %v", call, err)
		}
		failure := errors.New("no")
		reporter.set(failure, nil)
		time.Sleep(time.Hour)
		if call, _, err := c.getFrom(t, reporter); call != 0 || err != failure { //nolint:errorlint // the same one
			t.Errorf("failed: got call %d, %v", call, err)
		}
	})
}

// Servers of a sink that hangs delay one caller for a second, and the others not at all. What the sink said before is used for
// a minute.
func TestServerCache_HungSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reporter := &serverCache{}, &fakeReporter{}
		if call, _, err := c.getFrom(t, reporter); call != 1 || err != nil {
			t.Fatalf("got call %d, %v", call, err)
		}
		hung := make(chan struct{})
		reporter.set(nil, hung)
		time.Sleep(serversFresh)
		call, took, err := c.getFrom(t, reporter)
		if call != 1 || took != serversTimeout || !errors.Is(err, errServersTimeout) {
			t.Errorf("the first caller: got call %d after %v, %v", call, took, err)
		}
		call, took, err = c.getFrom(t, reporter)
		if call != 1 || took != 0 || !errors.Is(err, errServersTimeout) {
			t.Errorf("the next caller: got call %d after %v, %v", call, took, err)
		}
		time.Sleep(serversStale)
		if call, _, err = c.getFrom(t, reporter); call != 0 || !errors.Is(err, errServersTimeout) {
			t.Errorf("after a minute: got call %d, %v", call, err)
		}
		if calls := reporter.calls.Load(); calls != 2 {
			t.Errorf("the hung sink was called %d times at once", calls-1)
		}
		reporter.set(nil, nil)
		close(hung)
		synctest.Wait()
		time.Sleep(serversFresh)
		if call, _, err = c.getFrom(t, reporter); call != 3 || err != nil {
			t.Errorf("when the sink answers again: got call %d, %v", call, err)
		}
	})
}

func TestServers_Unsupported(t *testing.T) {
	runEngine(t, func(env *testEnv) {
		if _, err := env.engine.Servers(t.Context(), "p"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a sink that does not report servers: %v", err)
		}
		if _, err := env.engine.Servers(t.Context(), "x"); !errors.Is(err, ErrNoPipeline) {
			t.Errorf("an unknown pipeline: %v", err)
		}
	})
}
