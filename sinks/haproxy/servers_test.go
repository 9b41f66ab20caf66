package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// serversOf returns what HAProxy says of its servers, by name.
func serversOf(t *testing.T, s *Sink) map[string]sdk.Server {
	t.Helper()
	servers, err := s.Servers(t.Context())
	check(t, err)
	byName := map[string]sdk.Server{}
	for _, server := range servers {
		if server.Backend == "app" {
			byName[server.Name] = server
		}
	}
	return byName
}

// ask sends a request that the server answers only when it is told to.
func (n named) ask(r *testEnv) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan struct{})
	r.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/slow", r.port), http.NoBody)
		if err != nil {
			return
		}
		if answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
			_ = answer.Body.Close()
		}
	}()
}

func TestServers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode string
		set  func(r *testEnv)
	}{
		{"managed", func(*testEnv) {}},
		{"command", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			test.set(r)
			a, b := r.named("a"), r.named("b")
			s := r.sink()
			lines := []string{
				"server gone 127.0.0.1:1 check inter 50ms", "server a " + a.address + " weight 7",
				"server b " + b.address + " disabled",
			}
			r.apply(s, edited(r.lines(lines...), "global", "global\n    daemon"), sdk.ActionRestart)
			eventually(t, "the check fails", func() bool { return serversOf(t, s)["gone"].Status == "DOWN" })
			gone := serversOf(t, s)["gone"]
			if !strings.HasPrefix(gone.Check, "L4CON") || gone.InStatus > time.Hour || gone.Address != "127.0.0.1:1" {
				t.Errorf("got %+v", gone)
			}
			a.ask(r)
			<-a.asked
			want := sdk.Server{Backend: "app", Name: "a", Address: a.address, Status: "no check", Weight: 7, Sessions: 1}
			got := serversOf(t, s)["a"]
			if got.InStatus = 0; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if maint := serversOf(t, s)["b"]; maint.Status != "MAINT" || maint.Check != "" || maint.Address != b.address {
				t.Errorf("got %+v", maint)
			}

			// A server that is removed drains as long as it has a session.
			lines[1] = "server c " + b.address
			next := edited(r.lines(lines...), "global", "global\n    daemon")
			r.apply(s, next, sdk.ActionRuntime)
			if left := serversOf(t, s)["a"]; !strings.HasPrefix(left.Status, "DRAIN") || left.Sessions != 1 {
				t.Errorf("got %+v", left)
			}
			close(a.open)
			eventually(t, "it is gone", func() bool { _, there := serversOf(t, s)["a"]; return !there })

			s.change.Lock() // as a slow reload does
			defer s.change.Unlock()
			if server := serversOf(t, s)["c"]; server.Address != b.address {
				t.Errorf("got %+v", server)
			}
		})
	}
}

func TestServers_Queue(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a := r.named("a")
	s := r.sink()
	r.apply(s, r.lines("balance source", "server a "+a.address+" maxconn 1"), sdk.ActionRestart)
	for range 3 {
		a.ask(r)
	}
	eventually(t, "two requests wait", func() bool {
		server := serversOf(t, s)["a"]
		return server.Queue == 2 && server.Sessions == 1
	})
}

func TestServers_HAProxyIsReloaded(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	if _, err := s.Servers(t.Context()); err == nil {
		t.Error("a HAProxy that does not run has servers")
	}
	r.apply(s, r.document("one"), sdk.ActionRestart)
	r.apply(s, r.document("one", "backend other", "    server s2 127.0.0.1:1"), sdk.ActionReload)
	servers, err := s.Servers(t.Context())
	check(t, err)
	if len(servers) != 2 {
		t.Errorf("got %+v", servers)
	}
}

// A HAProxy that hangs does not keep a caller, and is asked again once it answers.
func TestServers_HAProxyHangs(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		s := r.sink()
		r.apply(s, document("one", "backend b.1:2-3_4", "    server s.1:2-3_4 127.0.0.1:1"), sdk.ActionRestart)
		_, err := s.Servers(t.Context())
		if unsupported := errors.Is(err, errors.ErrUnsupported); unsupported != (s.cfg.ReloadCmd != "") {
			t.Fatalf("reload_cmd is %q: %v", s.cfg.ReloadCmd, err)
		} else if unsupported { // the configuration of the test has no socket
			return
		}
		pid := r.running(s).Pid()
		check(t, syscall.Kill(pid, syscall.SIGSTOP))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if servers, err := s.Servers(ctx); err == nil {
			t.Errorf("a process that is stopped has reported %d servers", len(servers))
		}
		check(t, syscall.Kill(pid, syscall.SIGCONT))
		var servers []sdk.Server
		eventually(t, "HAProxy answers again", func() bool {
			var err error
			servers, err = s.Servers(t.Context())
			return err == nil
		})
		if !slices.ContainsFunc(servers, func(server sdk.Server) bool {
			return server.Backend == "b.1:2-3_4" && server.Name == "s.1:2-3_4" && server.Address == "127.0.0.1:1"
		}) {
			t.Errorf("got %+v", servers)
		}
	})
}

func TestServers_TenThousand(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	const count = 10_000
	lines := make([]string, count)
	for i := range lines {
		lines[i] = fmt.Sprintf("server s%d 127.0.0.1:%d", i, 1+i)
	}
	s := r.sink()
	r.apply(s, r.lines(lines...), sdk.ActionRestart)
	began := time.Now()
	if servers := serversOf(t, s); len(servers) != count || servers["s9999"].Address != "127.0.0.1:10000" {
		t.Errorf("%d servers, the last one is %+v", len(servers), servers["s9999"])
	}
	t.Logf("it took %v", time.Since(began))
}

// A HAProxy that a command starts without a socket cannot be asked.
func TestServers_WithoutASocket(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useCommands09()
	r.useAbsolutePath()
	s := r.sink()
	r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
	if _, err := s.Servers(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the error is %v", err)
	}
}
