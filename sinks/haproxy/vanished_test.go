package haproxy

import (
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
