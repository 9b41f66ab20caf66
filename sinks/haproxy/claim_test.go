package haproxy

import (
	"os"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// The directory may come after the start: nothing is touched before it can be claimed, and then by one sink only.
func TestClaim_DirectoryComesLater(t *testing.T) {
	t.Parallel()
	inEachMode(t, func(t *testing.T, r *testEnv, document func(string, ...string) sdk.Document) {
		r.cfg.ConfigFile, r.cfg.PidFile = r.path("etc/haproxy.cfg"), r.path("etc/haproxy.pid")
		if r.cfg.ReloadCmd != "" {
			r.useCommands09()
		}
		first, second := r.sink(), r.sink()
		for _, s := range []*Sink{first, second} {
			check(t, s.Claim(t.Context()))
			if _, err := s.Apply(t.Context(), document("early")); err == nil {
				t.Error("applied without a directory")
			}
			if problems(t, s) == "" {
				t.Error("healthy without a directory")
			}
		}
		check(t, os.Mkdir(r.path("etc"), 0o700))
		_, err := first.Apply(t.Context(), document("one"))
		_, errSecond := second.Apply(t.Context(), document("one"))
		if (err == nil) == (errSecond == nil) {
			t.Fatalf("of two sinks one keeps a HAProxy: %v, %v", err, errSecond)
		}
		if err != nil { // it was the second one that saw the directory first
			first, second = second, first
		}
		if problems(t, second) == "" {
			t.Error("the second sink is healthy")
		}
		if now := second.state.Load().running; !now.None() {
			t.Errorf("the second sink has adopted %v", now)
		}
		r.wantServed("one")
		r.stop(first)
		_, err = second.Apply(t.Context(), document("two"))
		check(t, err)
		r.wantServed("two")
	})
}

// What lies beside the pid file belongs to one HAProxy as well.
func TestClaim_SamePidFile(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	first := r.sink()
	check(t, first.Claim(t.Context()))
	r.cfg.ConfigFile = r.path("other.cfg")
	for _, name := range []string{"haproxy.pid", "haproxy.run"} { // of either, the sockets are the same
		r.cfg.PidFile = r.path(name)
		if err := r.sink().Claim(t.Context()); err == nil {
			t.Errorf("two sinks have claimed %s", name)
		}
	}
	r.cfg.PidFile = r.path("other.pid")
	check(t, r.sink().Claim(t.Context()))
}
