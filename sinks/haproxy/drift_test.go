package haproxy

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/internal/stage"
)

// watchful returns a sink that observes what HAProxy runs continuously.
func (r *testEnv) watchful() *Sink {
	s := r.sink()
	s.observeEvery = 0
	return s
}

func TestDrift_IsCorrected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, command, by string }{
		{"weight", "set server app/b weight 0", "a"},
		{"maintenance", "set server app/b state maint", "a"},
		{"drain", "set server app/b state drain", "a"},
		{"address", "set server app/b addr 127.0.0.1 port 1", "a 503 Service Unavailable"},
		{"removed", "set server app/b state maint; del server app/b", "a"},
		{"added", "add server app/c 127.0.0.1:1; set server app/c state ready", ""},
		{"maxconn", "set maxconn server app/b 1", ""},
		{"checks", "enable health app/b; disable health app/b; disable health app/a", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			s := r.watchful()
			doc := r.lines("server a "+a.address+" check", "server b "+b.address+" maxconn 50")
			r.apply(s, doc, sdk.ActionRestart)
			before := r.running(s)
			want := r.described(s)
			s.change.Lock() // so that the drift is seen
			r.ask(s, strings.Split(test.command, "; ")...)
			if test.command != "enable health app/b; disable health app/b; disable health app/a" && r.described(s) == want {
				t.Errorf("%q changed nothing", test.command)
			}
			s.change.Unlock()
			eventually(t, "the servers are corrected", func() bool { return r.described(s) == want })
			r.wantAnswers("a b")
			if now := r.running(s); !now.Same(before) {
				t.Error("HAProxy was reloaded for it")
			}
		})
	}
}

func (r *testEnv) described(s *Sink) string {
	r.t.Helper()
	running := side{commonPrefix, func(commands ...string) []string { return r.ask(s, commands...) }}
	servers, _ := running.servers(r.t)
	return fmt.Sprint(servers)
}

// The sink replaces a configuration that another program makes HAProxy load, and one that it writes into the file.
func TestDrift_ForeignReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.watchful()
	one := r.document("one")
	r.apply(s, one, sdk.ActionRestart)
	check(t, s.files.Acquire(t.Context(), 1)) // so that the file is not restored before it is loaded
	check(t, os.WriteFile(r.cfg.ConfigFile, r.document("else").Files[0].Content, 0o644))
	check(t, syscall.Kill(r.running(s).Pids[0], syscall.SIGUSR2))
	eventually(t, "the other configuration is served", func() bool { return r.served() == "else" })
	s.files.Release(1)
	eventually(t, "the applied document is served again", func() bool {
		return r.served() == "one" && r.onDisk() == string(one.Files[0].Content) && s.state.Load().verified
	})
	wantHealthy(t, s)
	r.apply(s, one, sdk.ActionUnchanged)

	check(t, os.WriteFile(r.cfg.ConfigFile, []byte("rubbish\n"), 0o644))
	eventually(t, "the file is restored", func() bool { return r.onDisk() == string(one.Files[0].Content) })
}

// HAProxy's servers may differ from the lines of a configuration without drift.
func TestDrift_NotReportedForUnknownServers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		more    []string
		servers string
	}{
		{"a disabled backend", []string{"server a ADDRESS", "backend off", "    disabled", "    server x ADDRESS check"}, "a"},
		{"a condition", []string{"server a ADDRESS", ".if defined(NOSUCH)", "server ghost 127.0.0.1:1", ".endif"}, "a"},
		{"a quoted word", []string{"server a ADDRESS", `"server" b ADDRESS`}, "a b"},
		{"a name", []string{"server a localhost:PORT"}, "a"},
		{"an agent", []string{"server a ADDRESS agent-check agent-port 9", "server b ADDRESS"}, "a b"},
		{"two bounds", []string{"server a ADDRESS minconn 5 maxconn 20"}, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			a := r.named("a")
			_, port, err := net.SplitHostPort(a.address)
			check(t, err)
			doc := edited(edited(r.lines(test.more...), "ADDRESS", a.address), "PORT", port)
			s := r.watchful()
			r.apply(s, doc, sdk.ActionRestart)
			want := r.ask(s, "show servers state app")[0]
			for range 3 {
				seen := s.observedTimes()
				eventually(t, "another observation", func() bool { return s.observedTimes() > seen })
			}
			if got := r.servers(s, "app"); got != test.servers {
				t.Errorf("the servers are %q", got)
			}
			if v := s.state.Load(); v.reloads > 0 || !v.verified || v.runtimeChanges > 0 {
				t.Errorf("it was taken for drift: %+v; at first\n%s", v, want)
			}
			wantHealthy(t, s)
		})
	}
}

// observedTimes returns the number of completed observations.
func (s *Sink) observedTimes() int64 { return s.observations.Load() }

// Drift that needs a reload causes one, and does not prevent that other servers are corrected.
func TestDrift_NeedsAReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	r.apply(s, r.lines("server a "+a.address+" agent-check agent-port 9", "server b "+b.address), sdk.ActionRestart)
	want := r.servers(s, "app")
	r.ask(s, "disable agent app/a", "set server app/a state maint", "del server app/a", "set server app/b state maint")
	eventually(t, "HAProxy is reloaded", func() bool { v := s.state.Load(); return v.verified && v.reloads == 1 })
	if got := r.servers(s, "app"); got != want {
		t.Errorf("the servers are %q, want %q", got, want)
	}
	wantHealthy(t, s)
}

// Drift that a reload does not correct causes only one reload, and Health reports it.
func TestDrift_RemainsAfterAReload(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a := r.named("a")
	s := r.watchful()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	r.ghosted(s)
	eventually(t, "Health reports it", func() bool { return strings.Contains(problems(t, s), "ghost") })
	for range 3 {
		seen := s.observedTimes()
		eventually(t, "another observation", func() bool { return s.observedTimes() > seen })
	}
	if v := s.state.Load(); v.reloads > 1 {
		t.Errorf("%d reloads", v.reloads)
	}
	r.wantAnswers("a")
}

// ghosted makes s expect a server that HAProxy cannot have.
func (r *testEnv) ghosted(s *Sink) {
	s.change.Lock()
	defer s.change.Unlock()
	other := parseDocument(s.state.Load().desired.files, nil)
	other.config = parseDocument(r.documentLines("server a 127.0.0.1:1", "server ghost 127.0.0.1:1 track a"), nil).config
	s.update(func(st *state) { st.desired, st.onDisk = other, other })
}

func (r *testEnv) documentLines(lines ...string) []stage.File {
	return []stage.File{{Path: r.cfg.ConfigFile, Content: r.lines(lines...).Files[0].Content}}
}
