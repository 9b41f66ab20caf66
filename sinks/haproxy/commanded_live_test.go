package haproxy

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// Whoever starts HAProxy, its servers change without a reload where there is a socket for that.
func TestServersChangeInADaemonWithoutAMaster(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(r *rig)
	}{
		{"by us", func(r *rig) { r.cfg.Mode = ModeCommand }},
		{"by the older command", (*rig).bare},
		{"by a command with a path", (*rig).pathed},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			test.set(r)
			a, b := r.named("a"), r.named("b")
			with := func(lines ...string) sdk.Document {
				socket := "\n    stats socket " + r.path("s.sock") + " level admin"
				return edited(r.lines(lines...), "global", "global\n    daemon"+socket)
			}
			s := r.sink()
			r.apply(s, with("server a "+a.address), sdk.ActionRestart)
			first := r.running(s)
			both := with("server a "+a.address, "server b "+b.address)
			r.apply(s, both, sdk.ActionRuntime)
			r.wantAnswers("a b")
			if now := r.running(s); !now.same(first) {
				t.Errorf("another process: %v after %v", now, first)
			}
			r.apply(s, edited(both, "maxconn 100", "maxconn 200"), sdk.ActionReload)
			r.wantAnswers("a b")
			r.apply(s, edited(with("server b "+b.address), "maxconn 100", "maxconn 200"), sdk.ActionRuntime)
			r.wantAnswers("b")
			wantHealthy(t, s)
		})
	}
}

// pathed is older with a path for HAProxy's name, so that nothing of ours gets into the command.
func (r *rig) pathed() {
	r.cfg.Binary = findIt(r.t, r.cfg.Binary)
	r.older()
}

func findIt(t *testing.T, name string) string {
	t.Helper()
	path, err := findBinary(name)
	check(t, err)
	return path
}

// Without a socket every change is a reload, and says why.
func TestNoSocketNoChangeAtRunTime(t *testing.T) {
	r := newRig(t)
	r.pathed()
	s := r.sink()
	r.apply(s, r.daemon("one"), sdk.ActionRestart)
	result := r.apply(s, edited(r.daemon("one"), "server s1", "server s2"), sdk.ActionReload)
	if !strings.Contains(result.Reason, "no \"stats socket PATH level admin\"") {
		t.Errorf("reason %q", result.Reason)
	}
	r.stop(s)

	r = newRig(t)
	r.cfg.Runtime = false
	s = r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	result = r.apply(s, edited(r.document("one"), "server s1", "server s2"), sdk.ActionReload)
	if !strings.Contains(result.Reason, "switched off") {
		t.Errorf("reason %q", result.Reason)
	}
}
