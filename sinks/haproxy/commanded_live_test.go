package haproxy

import (
	"errors"
	"fmt"
	"os"
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

// A verify command may forbid what HAProxy would take: then nobody is asked to serve it.
func TestAVerifyCommandComesFirst(t *testing.T) {
	r := newRig(t)
	r.cfg.VerifyCmd = "! grep -q forbidden " + r.cfg.ConfigFile
	a, b := r.named("a"), r.named("b")
	s := r.sink()
	one := r.lines("server a " + a.address)
	r.apply(s, one, sdk.ActionRestart)
	_, err := s.Apply(t.Context(), r.lines("server a "+a.address, "server forbidden "+b.address))
	if !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
	r.wantAnswers("a")
	r.wantOnDisk(one)
	both := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, both, sdk.ActionRuntime)
	r.wantAnswers("a b")
	r.awaitDisk(both)
}

// What the check refuses although HAProxy took it does not stay.
func TestWhatTheCheckRefusesAfterwardsIsTakenBack(t *testing.T) {
	r := newRig(t)
	a, b := r.named("a"), r.named("b")
	no, script := r.path("no"), r.path("haproxy-that-may-refuse")
	check(t, os.WriteFile(script, fmt.Appendf(nil, `#!/bin/sh
if [ "$1" = -c ] && [ -e %s ]; then echo '[ALERT] (1) : config : no'; exit 1; fi
exec %s "$@"
`, no, r.cfg.Binary), 0o700))
	r.cfg.Binary = script
	s := r.sink()
	one := r.lines("server a " + a.address)
	r.apply(s, one, sdk.ActionRestart)
	check(t, os.WriteFile(no, nil, 0o600))
	r.apply(s, r.lines("server a "+a.address, "server b "+b.address), sdk.ActionRuntime)
	eventually(t, "Health tells of it", func() bool { return strings.Contains(problems(t, s), "taken back") })
	eventually(t, "what was refused is gone", func() bool { return r.answeredBy() == "a" })
	r.wantOnDisk(one)
	check(t, os.Remove(no))
	other := r.lines("server b " + b.address)
	r.apply(s, other, sdk.ActionRuntime)
	r.awaitDisk(other)
	eventually(t, "Health is well again", func() bool { return problems(t, s) == "" })
}

// The pid file is all that a reload command knows of the HAProxy that runs. Where it is lost there must not be two.
func TestALostPidFileIsWrittenAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(r *rig)
	}{
		{"by us", func(r *rig) { r.cfg.Mode = ModeCommand }},
		{"by the older command", (*rig).bare},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			test.set(r)
			s := r.sink()
			r.apply(s, r.daemon("one"), sdk.ActionRestart)
			first := r.running(s).pids[0]
			check(t, os.Remove(r.cfg.PidFile))
			wantHealthy(t, s)
			r.apply(s, r.daemon("two"), sdk.ActionReload)
			eventually(t, "the first one is gone", func() bool { return !exists(first) })
			r.wantServed("two")
		})
	}
}

// A command may have rights that we have not.
func TestACommandGoesWithoutOurOptions(t *testing.T) {
	r := newRig(t)
	r.pathed()
	check(t, os.MkdirAll(r.path("haproxy.base.cfg/in/the/way"), 0o755))
	s := r.sink()
	r.apply(s, r.daemon("one"), sdk.ActionRestart)
	r.apply(s, r.daemon("two"), sdk.ActionReload)
	// The sockets are not handed over: for a moment the old process may still take connections.
	eventually(t, "it serves the new document", func() bool { return r.served() == "two" })
}
