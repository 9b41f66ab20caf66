package haproxy

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/runtimeapi"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/syntax"
)

// A master that a command reloads in place keeps its process id, and has a new worker.
func TestReloadInPlace_DiscardsWhatWasKnown(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
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
	if draining := s.client.Draining(); draining != 1 {
		t.Errorf("%d servers are draining", draining)
	}
	s.change.Unlock()
	g := &supervisor{Sink: s}
	begun := g.beginObservation()
	defer begun.client.Close()

	renamed := edited(edited(other, "default_backend app", "default_backend renamed"), "\nbackend app", "\nbackend renamed")
	r.apply(s, renamed, sdk.ActionReload)
	if now := r.running(s); !now.Same(before) {
		t.Fatalf("HAProxy is %v, and was %v", now, before)
	}
	s.change.Lock()
	if draining := s.client.Draining(); draining > 0 {
		t.Errorf("%d servers are draining", draining)
	}
	s.change.Unlock()
	if g.finishObservation(begun, func(*document) {}) {
		t.Error("what was read before the reload counts after it")
	}
	r.wantAnswers("b")
}

// A draining server whose backend HAProxy no longer has is not removed by a reload.
func TestRemoveDrained_BackendIsGone(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	with := r.document("one", "backend gone\n    server a "+r.backend)
	r.apply(s, with, sdk.ActionRestart)
	client := runtimeapi.NewClient(runtimeapi.NewInfos(nil, runtimeapi.InfoTimeout), s.resolver, -time.Hour)
	client.Reset(runtimeapi.Target{
		Endpoint: func() (runtimeapi.Endpoint, error) { return s.controller.Endpoint(s.state.Load().running) },
		Answered: func(runtimeapi.Info) bool { return true },
	})
	defer client.Close()
	before, want := syntax.Parse(with.Files[0].Content, nil), syntax.Parse([]byte("backend gone\n"), nil)
	_, err := client.Reconcile(t.Context(), before, want, []string{"gone"})
	check(t, err)
	client.Close()
	if client.Stuck() == nil {
		t.Fatal("the server is not stuck")
	}
	r.apply(s, r.document("two"), sdk.ActionReload)
	reloads := reloadsOf(t, s)
	s.change.Lock()
	s.client = client
	s.change.Unlock()
	g := &supervisor{Sink: s}
	g.removeDrained(t.Context())
	if now, st := reloadsOf(t, s), s.state.Load(); now != reloads || !st.verified {
		t.Errorf("%s reloads before and %s after; what HAProxy runs is known: %v", reloads, now, st.verified)
	}
}

// An observation may find backends that the document no longer has.
func TestCorrectServers_BackendIsGone(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	var backends []string
	for i := range 50 {
		backends = append(backends, fmt.Sprintf("backend many%d\n    server a %s", i, r.backend))
	}
	r.apply(s, r.document("one", backends...), sdk.ActionRestart)
	g := &supervisor{Sink: s}
	l := g.beginObservation()
	defer l.client.Close()
	differing := append(l.applied.config.Backends(), "gone")
	if !g.finishObservation(l, func(content *document) { g.correctServers(t.Context(), l, content, differing) }) {
		t.Error("HAProxy was changed meanwhile")
	}
	if st := s.state.Load(); !st.verified || len(st.problems()) > 0 {
		t.Errorf("the backend is missed: %v", st.problems())
	}
}
