package haproxy

import (
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// HAProxy accepts each of these servers at run time, or a different one, and rejects the file with it. None goes live.
func TestRuntimeChange_ServersThatTheCheckRejects(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"server y ipv4@[::1]:3",
		"server y ipv6@127.0.0.1:3",
		"server y 127.0.0.1:3 proto fcgi",
		"server y 127.0.0.1:3 weight 257",
		"server y 127.0.0.1:3" + strings.Repeat(" check", 63),
		"server x 127.0.0.1:3",
		"server y 127.0.0.1:3 track nobody",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			a := r.named("a")
			s := r.sink()
			before := r.lines("server x " + a.address)
			r.apply(s, before, sdk.ActionRestart)
			if _, err := s.Apply(t.Context(), r.lines("server x "+a.address, line)); err == nil {
				t.Error("HAProxy accepts it")
			}
			if runtimes := s.state.Load().runtimeChanges; runtimes != 0 {
				t.Errorf("HAProxy was changed %d times", runtimes)
			}
			if got := r.servers(s, "app"); got != "x" {
				t.Errorf("the servers are %q", got)
			}
			r.wantOnDisk(before)
			wantHealthy(t, s)
		})
	}
}
