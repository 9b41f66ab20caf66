package haproxy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// The servers of a HAProxy that a command has started change without a reload if it has an admin socket.
func TestReloadCommand_ServersChangeWithoutReload(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(r *testEnv)
	}{
		{"by us", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
		{"by the older command", (*testEnv).useBareName},
		{"by a command with a path", (*testEnv).useAbsolutePath},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
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
			if now := r.running(s); !now.Same(first) {
				t.Errorf("HAProxy was restarted: %v after %v", now, first)
			}
			r.apply(s, edited(both, "maxconn 100", "maxconn 200"), sdk.ActionReload)
			r.wantAnswers("a b")
			r.apply(s, edited(with("server b "+b.address), "maxconn 100", "maxconn 200"), sdk.ActionRuntime)
			r.wantAnswers("b")
			wantHealthy(t, s)
		})
	}
}

// useAbsolutePath is useCommands09 with an absolute path of HAProxy, so that the sink's options are not passed to it.
func (r *testEnv) useAbsolutePath() {
	r.cfg.Binary = findIt(r.t, r.cfg.Binary)
	r.useCommands09()
}

func findIt(t *testing.T, name string) string {
	t.Helper()
	path, err := process.FindBinary(name)
	check(t, err)
	return path
}

// Without a socket every change is a reload, whose reason says so.
func TestReloadCommand_NoAdminSocket(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useAbsolutePath()
	s := r.sink()
	r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
	result := r.apply(s, edited(r.daemonDocument("one"), "server s1", "server s2"), sdk.ActionReload)
	if !strings.Contains(result.Reason, "no \"stats socket PATH level admin\"") {
		t.Errorf("reason %q", result.Reason)
	}
	r.stop(s)

	r = newTestEnv(t)
	r.cfg.Runtime = false
	s = r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	result = r.apply(s, edited(r.document("one"), "server s1", "server s2"), sdk.ActionReload)
	if !strings.Contains(result.Reason, "disabled") {
		t.Errorf("reason %q", result.Reason)
	}
}

// A verify command may reject what HAProxy would accept: the servers are not changed then.
func TestVerifyCommand_BeforeRuntimeChange(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
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

// rejectingCheck replaces HAProxy by a script that rejects configurations which contain a word of the returned file, and
// otherwise runs HAProxy.
func (r *testEnv) rejectingCheck() (words string) {
	words = r.path("words")
	check(r.t, os.WriteFile(words, nil, 0o600))
	script := r.path("haproxy-that-may-refuse")
	writeProgram(r.t, script, fmt.Appendf(nil, `#!/bin/bash
for argument in "$@"; do
	if [ "$argument" = -c ]; then checks=yes; fi
done
if [ "$checks" ] && grep -qFf %s "${@: -1}"; then echo '[ALERT] (1) : config : no'; exit 1; fi
exec %s "$@"
`, words, r.cfg.Binary))
	r.cfg.Binary = script
	return words
}

func TestPersist_RejectedChangeIsReverted(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	words := r.rejectingCheck()
	s := r.sink()
	lost := lostBy(s)
	one := r.lines("server a " + a.address)
	one.Generation = 7
	r.apply(s, one, sdk.ActionRestart)
	check(t, os.WriteFile(words, []byte("server b\n"), 0o600))
	both := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, both, sdk.ActionRuntime)
	if l := awaitLost(t, lost); !errors.Is(l.Err, sdk.ErrRejected) || l.Generation != 7 {
		t.Errorf("lost %+v", l)
	}
	eventually(t, "the rejected change is reverted", func() bool { return r.answeredBy() == "a" })
	r.wantOnDisk(one)

	// From now on it is checked before it is made, and not rejected from memory.
	if _, err := s.Apply(t.Context(), both); !errors.Is(err, sdk.ErrRejected) {
		t.Errorf("got %v", err)
	}
	r.wantAnswers("a")
	check(t, os.WriteFile(words, nil, 0o600))
	r.apply(s, both, sdk.ActionRuntime)
	r.awaitDisk(both)
	eventually(t, "healthy", func() bool { return problems(t, s) == "" })
	wantNothingLost(t, lost)
}

// A half-written certificate or a missing error file has nothing to do with a server that is added.
func TestPersist_CheckRejectsThePreviousDocumentToo(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	words := r.rejectingCheck()
	s := r.sink()
	lost := lostBy(s)
	one := r.lines("server a " + a.address)
	r.apply(s, one, sdk.ActionRestart)
	check(t, os.WriteFile(words, []byte("server\n"), 0o600))
	both := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, both, sdk.ActionRuntime)
	eventually(t, "Health reports that what runs is not on disk", func() bool { return problems(t, s) != "" })
	r.wantAnswers("a b")
	r.wantOnDisk(one)
	check(t, os.WriteFile(words, nil, 0o600))
	r.awaitDisk(both)
	eventually(t, "healthy", func() bool { return problems(t, s) == "" })
	wantNothingLost(t, lost)
}

// A reload command knows the running HAProxy only from the pid file. Where that is lost, no second HAProxy may be started.
func TestReloadCommand_LostPidFileIsWrittenAgain(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(r *testEnv)
	}{
		{"by us", func(r *testEnv) { r.cfg.Mode = ModeCommand }},
		{"by the older command", (*testEnv).useBareName},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			test.set(r)
			s := r.sink()
			r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
			first := r.running(s).Pids[0]
			check(t, os.Remove(r.cfg.PidFile))
			wantHealthy(t, s)
			r.apply(s, r.daemonDocument("two"), sdk.ActionReload)
			eventually(t, "the first HAProxy has ended", func() bool { return !procinfo.Exists(first) })
			r.wantServed("two")
		})
	}
}

// A command may have permissions that the plugin lacks.
func TestReloadCommand_BaseFileNotWritable(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.useAbsolutePath()
	check(t, os.MkdirAll(r.path("haproxy.base.cfg/in/the/way"), 0o755))
	s := r.sink()
	r.apply(s, r.daemonDocument("one"), sdk.ActionRestart)
	r.apply(s, r.daemonDocument("two"), sdk.ActionReload)
	// The sockets are not handed over, so the old process may accept connections for a moment.
	eventually(t, "HAProxy serves the new document", func() bool { return r.served() == "two" })
}
