package haproxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
)

// A relay forwards connections to HAProxy's socket, and only a limited number of bytes of the answers on each; -1 is no limit.
type relay struct {
	to      string
	limits  []int64 // of the connections to come; the last one holds for all after
	mu      sync.Mutex
	served  int
	between func(connection int) // called before a connection is led on
}

func (r *testEnv) relay(s *Sink, limits ...int64) *relay {
	r.t.Helper()
	listener, err := net.Listen("unix", r.path("relay.sock"))
	check(r.t, err)
	relay := &relay{to: r.path("haproxy.master.sock"), limits: limits, between: func(int) {}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { relay.lead(conn) })
		}
	})
	r.t.Cleanup(func() {
		_ = listener.Close()
		s.change.Lock()
		s.client.Close()
		s.change.Unlock()
		serving.Wait()
	})
	s.change.Lock()
	defer s.change.Unlock()
	s.client.Close()
	s.endpoint = func(now process.Instance) (runtimeapi.Endpoint, error) {
		return runtimeapi.Endpoint{Path: r.path("relay.sock"), Worker: now.Worker}, nil
	}
	return relay
}

func (r *relay) lead(conn net.Conn) {
	r.mu.Lock()
	number := r.served
	r.served++
	limit, between := r.limits[min(number, len(r.limits)-1)], r.between
	r.mu.Unlock()
	between(number)
	onward, err := net.Dial("unix", r.to)
	if err != nil {
		_ = conn.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(onward, conn)
		_ = onward.Close()
	})
	if limit < 0 {
		_, _ = io.Copy(conn, onward)
	} else {
		_, _ = io.CopyN(conn, onward, limit)
	}
	_ = conn.Close()
	_ = onward.Close()
	both.Wait()
}

// Wherever the connection breaks, the change is made: over another connection, or by a reload.
func TestRuntimeChange_ConnectionBreaks(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	one, other := r.lines("server a "+a.address), r.lines("server b "+b.address+" weight 7 check")
	r.apply(s, one, sdk.ActionRestart)
	relay := r.relay(s, -1)
	r.apply(s, other, sdk.ActionRuntime)
	for limit := int64(0); limit < 4000; limit += 97 {
		s.change.Lock()
		s.client.Close()
		relay.mu.Lock()
		relay.served, relay.limits = 0, []int64{limit, -1}
		relay.mu.Unlock()
		s.change.Unlock()
		r.apply(s, one, sdk.ActionRuntime)
		r.wantAnswers("a")
		r.apply(s, other, sdk.ActionRuntime)
		r.wantAnswers("b")
	}
	r.awaitDisk(other)

	relay.mu.Lock()
	relay.limits = []int64{700} // never enough
	relay.mu.Unlock()
	s.change.Lock()
	s.client.Close()
	s.change.Unlock()
	result := r.apply(s, one, sdk.ActionReload)
	if !strings.Contains(result.Reason, "connection to HAProxy's socket") {
		t.Errorf("reason %q", result.Reason)
	}
	r.wantAnswers("a")
	r.wantOnDisk(one)
}

// HAProxy is killed during a large batch: the supervisor starts another one with what should run.
func TestRuntimeChange_HAProxyIsKilled(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"worker", "master"} {
		t.Run(who, func(t *testing.T) {
			r := newTestEnv(t)
			a := r.named("a")
			s := r.sink()
			r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
			relay := r.relay(s, 9000, -1) // somewhere among the answers to the batch
			var lines []string
			for i := range 300 {
				lines = append(lines, fmt.Sprintf("server s%d %s", i, a.address))
			}
			before := r.running(s)
			victim := before.Worker
			if who == "master" {
				victim = before.Pids[0]
			}
			relay.mu.Lock()
			relay.between = func(connection int) {
				if connection == 1 {
					kill(t, victim)
				}
			}
			relay.mu.Unlock()
			many := r.lines(lines...)
			if _, err := s.Apply(t.Context(), many); err != nil {
				t.Logf("%v", err) // as good: it is offered again
				_, err = s.Apply(t.Context(), many)
				check(t, err)
			}
			r.wantAnswers("a")
			r.awaitDisk(many)
			eventually(t, "healthy", func() bool { return problems(t, s) == "" })
			if got := len(strings.Fields(r.servers(s, "app"))); got != 300 {
				t.Errorf("%d servers", got)
			}
		})
	}
}
