package haproxy

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// gated makes HAProxy's check wait while the file gate exists.
func (r *testEnv) gated() (shut, open func()) {
	r.t.Helper()
	gate, script := r.path("gate"), r.path("haproxy-gated")
	writeProgram(r.t, script, fmt.Appendf(nil, `#!/bin/sh
if [ "$1" = -c ]; then while [ -e %s ]; do sleep 0.02; done; fi
exec %s "$@"
`, gate, r.cfg.Binary))
	r.cfg.Binary = script
	r.t.Cleanup(func() { _ = os.Remove(gate) })
	return func() { check(r.t, os.WriteFile(gate, nil, 0o600)) }, func() { check(r.t, os.Remove(gate)) }
}

// HAProxy ends after a change at run time and before the file is written: it is restarted with the change.
func TestPersist_HAProxyEndsBeforeTheFileIsWritten(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	shut, open := r.gated()
	s := r.sink()
	one, other := r.lines("server a "+a.address), r.lines("server b "+b.address)
	r.apply(s, one, sdk.ActionRestart)
	shut()
	r.apply(s, other, sdk.ActionRuntime)
	before := r.running(s)
	kill(t, before.Pids[0])
	eventually(t, "it is gone", func() bool { return !procinfo.Exists(before.Worker) })
	r.wantOnDisk(one)
	open()
	r.awaitOther(s, before)
	r.wantAnswers("b")
	r.awaitDisk(other)
	wantHealthy(t, s)
}

// Changes do not wait for the check of the previous one, and only the last one has to be written.
func TestPersist_LastOfSeveralChanges(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	shut, open := r.gated()
	s := r.sink()
	r.apply(s, r.lines("server a "+a.address), sdk.ActionRestart)
	shut()
	for range 3 {
		r.apply(s, r.lines("server b "+b.address), sdk.ActionRuntime)
		r.wantAnswers("b")
		r.apply(s, r.lines("server a "+a.address), sdk.ActionRuntime)
		r.wantAnswers("a")
	}
	last := r.lines("server a "+a.address, "server b "+b.address)
	r.apply(s, last, sdk.ActionRuntime)
	open()
	r.awaitDisk(last)
	r.stop(s)
	next := r.sink()
	r.apply(next, last, sdk.ActionUnchanged)
	r.wantTidy()
}

// Stop writes the last change.
func TestStop_PersistsTheLastChange(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	shut, open := r.gated()
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	shut()
	doc := edited(r.document("one"), "server s1", "server s2")
	r.apply(s, doc, sdk.ActionRuntime)
	open()
	r.stop(s)
	r.wantOnDisk(doc)
}

func TestPersist_FileCannotBeReplaced(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.document("one"), sdk.ActionRestart)
	check(t, os.Rename(r.cfg.ConfigFile, r.path("kept")))
	check(t, os.Mkdir(r.cfg.ConfigFile, 0o755)) // nothing can be renamed over a directory
	doc := edited(r.document("one"), "server s1 "+r.backend, "server s2 "+r.backend)
	r.apply(s, doc, sdk.ActionRuntime)
	r.wantServed("one")
	eventually(t, "Health reports it", func() bool { return strings.Contains(problems(t, s), "not persisted") })
	check(t, os.Remove(r.cfg.ConfigFile))
	r.awaitDisk(doc)
	eventually(t, "Health reports no problem", func() bool { return problems(t, s) == "" })
	r.wantTidy()
}
