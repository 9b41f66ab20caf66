package haproxy

import (
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// withState returns a document with those lines in its backend that loads the states of servers from a file.
func (r *testEnv) withState(scope string, lines ...string) sdk.Document {
	doc := edited(r.lines(lines...), "global\n", "global\n    server-state-file "+r.path("states")+
		"\n    server-state-base "+r.dir+"\n")
	return edited(doc, "backend app\n", "backend app\n    load-server-state-from-file "+scope+"\n")
}

// saveState saves the states of servers as operators' scripts do before a reload.
func (r *testEnv) saveState(s *Sink, scope string) {
	r.t.Helper()
	s.change.Lock()
	defer s.change.Unlock()
	path := map[string]string{"global": "states", "local": "app"}[scope]
	check(r.t, os.WriteFile(r.path(path), []byte(r.ask(s, "show servers state app")[0]+"\n"), 0o644))
}

// A server-state file has the states of the time when it was written. When Apply returns, the servers are those of the document.
func TestCorrectLoaded_AfterAReload(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"global", "local"} {
		for _, test := range []struct {
			name, command string
			by            string
		}{
			{"port", "", "b"},
			{"weight", "set server app/one weight 0", "b"},
			{"maintenance", "set server app/one state maint", "b"},
			{"drain", "set server app/one state drain", "b"},
			{"address", "set server app/one addr 127.0.0.1 port 1", "b"},
		} {
			t.Run(scope+" "+test.name, func(t *testing.T) {
				r := newTestEnv(t)
				a, b := r.named("a"), r.named("b")
				s := r.sink()
				r.apply(s, r.withState(scope, "server one "+a.address), sdk.ActionRestart)
				s.change.Lock()
				if test.command != "" {
					r.ask(s, test.command)
				}
				s.change.Unlock()
				r.saveState(s, scope)
				next := edited(r.withState(scope, "server one "+b.address), "maxconn 100", "maxconn 200")
				r.apply(s, next, sdk.ActionReload)
				if got := r.answeredBy(); got != test.by {
					t.Errorf("answered by %q, want %q", got, test.by)
				}
				wantHealthy(t, s)
			})
		}
	}
}

// The same is true for a HAProxy that was restarted after it had ended.
func TestCorrectLoaded_AfterARestart(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	events := eventsOf(s)
	r.apply(s, r.withState("global", "server one "+a.address), sdk.ActionRestart)
	r.saveState(s, "global")
	next := r.withState("global", "server one "+b.address)
	r.apply(s, next, sdk.ActionRuntime)
	r.awaitDisk(next)
	before := r.running(s)
	kill(t, before.Pids[0])
	r.awaitOther(s, before)
	restarted := events.await(t, sdk.EventRestarted)
	if len(restarted.Commands) == 0 || !strings.HasPrefix(restarted.Commands[0].Sent, "set server app/one addr") {
		t.Errorf("got %+v", restarted)
	}
	if got := r.answeredBy(); got != "b" {
		t.Errorf("answered by %q", got)
	}
}

// If changes at run time are switched off, differences are reported.
func TestCorrectLoaded_ReportsWithoutRuntimeChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	r.apply(s, r.withState("global", "server one "+a.address), sdk.ActionRestart)
	r.saveState(s, "global")
	r.stop(s)
	r.cfg.Runtime = false
	s = r.sink()
	result := r.apply(s, r.withState("global", "server one "+b.address), sdk.ActionReload)
	if !strings.Contains(strings.Join(result.Details, "\n"), "app/one") || problems(t, s) == "" {
		t.Errorf("details %q, problems %q", result.Details, problems(t, s))
	}
	check(t, os.Remove(r.path("states")))
	r.apply(s, edited(r.withState("global", "server one "+b.address), "maxconn 100", "maxconn 200"), sdk.ActionReload)
	wantHealthy(t, s)
}
