package haproxy

import (
	"net"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A server that is wanted again while it is draining becomes what its line says, by commands or by a reload.
func TestRuntimeChange_ReturningServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, was, is, action string }{
		{"the same", "server a ADDR maxconn 7 weight 3", "server a ADDR maxconn 7 weight 3", sdk.ActionRuntime},
		{"without maxconn", "server a ADDR maxconn 7", "server a ADDR", sdk.ActionRuntime},
		{"with maxconn", "server a ADDR", "server a ADDR maxconn 7", sdk.ActionRuntime},
		{"another maxconn", "server a ADDR maxconn 7", "server a ADDR maxconn 8", sdk.ActionRuntime},
		{"another weight", "server a ADDR weight 3", "server a ADDR weight 4", sdk.ActionRuntime},
		{"no weight", "server a ADDR weight 3", "server a ADDR", sdk.ActionRuntime},
		{"another address", "server a ADDR", "server a 127.0.0.9:9", sdk.ActionRuntime},
		{"another port", "server a ADDR", "server a 127.0.0.1:9", sdk.ActionRuntime},
		{"a name", "server a ADDR", "server a localhost:PORT", sdk.ActionReload},
		{"a name with another port", "server a ADDR", "server a localhost:9", sdk.ActionReload},
		{"no name", "server a localhost:PORT", "server a ADDR", sdk.ActionReload},
		{"disabled", "server a ADDR", "server a ADDR disabled", sdk.ActionRuntime},
		{"checks", "server a ADDR", "server a ADDR check", sdk.ActionReload},
		{"no checks", "server a ADDR check", "server a ADDR", sdk.ActionReload},
		{"another rise", "server a ADDR check rise 3", "server a ADDR check rise 4", sdk.ActionReload},
		{"a backup", "server a ADDR", "server a ADDR backup", sdk.ActionReload},
		{"no backup", "server a ADDR backup", "server a ADDR", sdk.ActionReload},
		{"a queue", "server a ADDR maxqueue 3", "server a ADDR maxqueue 4", sdk.ActionReload},
		{"would cut its sessions off", "server a ADDR on-marked-down shutdown-sessions",
			"server a ADDR on-marked-down shutdown-sessions disabled", sdk.ActionReload},
		{"not understood", "server a ADDR source 127.0.0.1", "server a ADDR source 127.0.0.1", sdk.ActionReload},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			_, port, err := net.SplitHostPort(a.address)
			check(t, err)
			line := func(text string) string {
				return strings.NewReplacer("ADDR", a.address, "PORT", port).Replace(text)
			}
			s := r.sink()
			r.apply(s, r.lines(line(test.was)), sdk.ActionRestart)
			answer := r.slowly()
			<-a.asked
			r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
			if got := r.servers(s, "app"); got != "a- b" {
				t.Fatalf("the servers are %q, want a to drain", got)
			}
			back := r.lines("server b "+b.address, line(test.is))
			r.apply(s, back, test.action)
			r.awaitDisk(back)
			r.wantAsFresh(s)
			wantHealthy(t, s)
			close(a.open)
			if got := answer(); got != "a" {
				t.Errorf("the request that was under way was answered by %q", got)
			}
		})
	}
}

// A backup server that is wanted again keeps its position in HAProxy's order, whatever the position of its line.
func TestRuntimeChange_ReturningBackups(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	lineA, lineB := "server a "+a.address+" backup", "server b "+b.address+" backup"
	r.apply(s, r.lines(lineA), sdk.ActionRestart)
	answer := r.slowly()
	<-a.asked
	r.apply(s, r.lines(lineB), sdk.ActionRuntime)
	r.wantAnswers("b")
	swapped := r.lines(lineB, lineA)
	r.apply(s, swapped, sdk.ActionReload)
	r.wantAnswers("b")
	r.awaitDisk(swapped)
	r.wantAsFresh(s)
	close(a.open)
	if got := answer(); got != "a" {
		t.Errorf("the request that was under way was answered by %q", got)
	}
}

// A server of the same name that another program has added is not the one of the document.
func TestRuntimeChange_ForeignServer(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	r.apply(s, r.lines("server b "+b.address), sdk.ActionRestart)
	s.change.Lock() // so that no observation happens
	r.ask(s, "add server app/a 127.0.0.1:1 maxconn 3 check fall 7", "set server app/a state ready")
	s.change.Unlock()
	eventually(t, "it is drained or gone", func() bool { return !strings.Contains(r.servers(s, "app"), "a ") })
	both := r.lines("server b "+b.address, "server a "+a.address)
	_, err := s.Apply(t.Context(), both)
	check(t, err)
	r.awaitDisk(both)
	r.wantAnswers("a b")
	r.wantAsFresh(s)
}
