package haproxy

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A server that drains goes with its backend, and no reload is made to remove it.
func TestRemoveServers_BackendIsGone(t *testing.T) {
	r := newRig(t)
	s := r.watchful()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	s.change.Lock()
	s.live.about(s.notes.running())
	s.live.leaving["gone/a"] = leaver{until: time.Now().Add(-2 * stuckAfter)}
	s.change.Unlock()
	g := &guard{Sink: s}
	g.removeServers(t.Context())
	if reloads := reloadsOf(t, s); reloads != "0" || !s.notes.view().known {
		t.Errorf("%s reloads, and what HAProxy runs is known: %v", reloads, s.notes.view().known)
	}
}

// A master that a command reloads in place is the same process after the reload, and has another worker.
func TestReloadInPlace_NothingIsKnownOfTheWorkerThatFollows(t *testing.T) {
	r := newRig(t)
	a, b := r.named("a"), r.named("b")
	defer close(a.open)
	with := func(server string) sdk.Document { return r.withStatsSocket(r.lines(server)) }
	one, other := with("server a "+a.address), with("server b "+b.address)
	check(t, os.WriteFile(r.cfg.ConfigFile, one.Files[0].Content, 0o644))
	r.startMaster("", "-f", r.cfg.ConfigFile)
	s := r.sink()
	r.apply(s, one, sdk.ActionReload)
	before := r.running(s)
	r.slowly()
	<-a.asked
	r.apply(s, other, sdk.ActionRuntime)
	s.change.Lock()
	if len(s.live.leaving) != 1 {
		t.Errorf("the servers that leave are %v", s.live.leaving)
	}
	s.live.stubborn["app"] = "no"
	s.change.Unlock()
	g := &guard{Sink: s}
	begun := g.beginLook()
	defer begun.live.hangUp()

	renamed := edited(edited(other, "default_backend app", "default_backend renamed"), "\nbackend app", "\nbackend renamed")
	r.apply(s, renamed, sdk.ActionReload)
	if now := r.running(s); !now.same(before) {
		t.Fatalf("HAProxy is %v, and was %v", now, before)
	}
	s.change.Lock()
	if len(s.live.leaving)+len(s.live.stubborn) > 0 {
		t.Errorf("leaving are %v, stubborn %v", s.live.leaving, s.live.stubborn)
	}
	s.change.Unlock()
	if g.endLook(begun, func(*placed) {}) {
		t.Error("what was read before the reload counts after it")
	}
	r.wantAnswers("b")
}

// A look may find backends that the document has no more.
func TestConcludeServers_BackendIsGone(t *testing.T) {
	r := newRig(t)
	s := r.sink()
	var backends []string
	for i := range manyBackends {
		backends = append(backends, fmt.Sprintf("backend many%d\n    server a %s", i, r.backend))
	}
	r.apply(s, r.document("one", backends...), sdk.ActionRestart)
	g := &guard{Sink: s}
	l := g.beginLook()
	defer l.live.hangUp()
	differing := append(l.content.config.Backends(), "gone")
	if !g.endLook(l, func(content *placed) { g.concludeServers(t.Context(), l, content, differing) }) {
		t.Error("HAProxy was changed meanwhile")
	}
	if v := s.notes.view(); !v.known || len(v.wrong) > 0 {
		t.Errorf("the backend is missed: %v", v.wrong)
	}
}
