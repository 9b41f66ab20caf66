package haproxy

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// HAProxy removes quotes and escapes before it compares words, and reports names without them.
func TestRuntimeChange_QuotedNames(t *testing.T) {
	t.Parallel()
	for _, quoted := range []func(backend, name string) (string, string){
		func(backend, name string) (string, string) { return `"` + backend + `"`, `"` + name + `"` },
		func(backend, name string) (string, string) { return "'" + backend + "'", "'" + name + "'" },
		func(backend, name string) (string, string) { return backend + `""`, name[:0] + `""` + name },
		func(_, name string) (string, string) {
			return `\x61pp`, `\x` + map[string]string{"a": "61", "b": "62"}[name]
		},
	} {
		_, title := quoted("app", "a")
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			a, b := r.named("a"), r.named("b")
			document := func(servers ...string) sdk.Document {
				backend, _ := quoted("app", "a")
				return edited(r.lines(servers...), "backend app", "backend "+backend)
			}
			_, nameA := quoted("app", "a")
			_, nameB := quoted("app", "b")
			s := r.watchful()
			r.apply(s, document("server "+nameA+" "+a.address), sdk.ActionRestart)
			r.wantObservedHealthy(s)
			both := document("server "+nameA+" "+a.address, "server "+nameB+" "+b.address)
			r.apply(s, both, sdk.ActionRuntime)
			r.wantAnswers("a b")
			r.awaitDisk(both)
			r.wantAsFresh(s)
			r.wantObservedHealthy(s)
			r.apply(s, document("server "+nameB+" "+b.address), sdk.ActionRuntime)
			r.wantAnswers("b")
		})
	}
}

// Names that depend on HAProxy's environment are unknown: these servers are not changed, and they are no problem.
func TestRuntimeChange_NamesFromTheEnvironment(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	document := func(servers ...string) sdk.Document {
		return edited(r.lines(servers...), "maxconn 100", "maxconn 100\n    presetenv NAME_OF_A a")
	}
	s := r.watchful()
	r.apply(s, document(`server "$NAME_OF_A" `+a.address), sdk.ActionRestart)
	before := r.running(s)
	r.wantObservedHealthy(s)
	if got := r.servers(s, "app"); got != "a" {
		t.Fatalf("the servers are %q", got)
	}
	if now := r.running(s); !now.Same(before) {
		t.Error("HAProxy was reloaded")
	}
	r.apply(s, document(`server "$NAME_OF_A" `+a.address, "server b "+b.address), sdk.ActionReload)
	r.wantObservedHealthy(s)
	r.wantAnswers("a b")
}

// wantObservedHealthy checks that there are no problems after two observations.
func (r *testEnv) wantObservedHealthy(s *Sink) {
	r.t.Helper()
	seen := s.observedTimes()
	eventually(r.t, "it is observed", func() bool { return s.observedTimes() > seen+2 })
	wantHealthy(r.t, s)
}

// Conditional blocks elsewhere in the configuration make no difference. If one decides which lines of a backend count, the
// backend is changed by reloads and not observed.
func TestRuntimeChange_ConditionalBlocks(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	serverA, serverB := "server a "+a.address, "server b "+b.address
	elsewhere := func(servers ...string) sdk.Document {
		document := edited(r.lines(servers...), "maxconn 100",
			"maxconn 100\n    .if defined(NEVER)\n    maxconn 7\n    .endif\n    .notice hello")
		return edited(document, "frontend web", ".if !defined(NEVER)\nbackend other\n.endif\nfrontend web")
	}
	s := r.watchful()
	r.apply(s, elsewhere(serverA), sdk.ActionRestart)
	r.apply(s, elsewhere(serverA, serverB), sdk.ActionRuntime)
	r.wantAnswers("a b")
	r.wantObservedHealthy(s)

	const begin, end = ".if defined(NEVER)", ".endif"
	around := r.lines(serverA, begin, serverB, end)
	r.apply(s, around, sdk.ActionReload)
	r.wantAnswers("a")
	r.wantObservedHealthy(s)
	result := r.apply(s, r.lines(serverA, begin, end, serverB), sdk.ActionReload)
	if !strings.Contains(result.Reason, begin) {
		t.Errorf("reason %q", result.Reason)
	}
	r.wantAnswers("a b")
	r.wantObservedHealthy(s)
	worker := r.running(s).Worker
	r.ask(s, "set server app/a state maint") // nobody can tell whether that is what the file says
	r.wantObservedHealthy(s)
	if now := r.running(s).Worker; now != worker {
		t.Error("HAProxy was reloaded")
	}
}
