package haproxy

import (
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// HAProxy uses the first available backup server, unless all are used. The same server answers as after a start.
func TestRuntimeChange_OrderOfBackups(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, defaults, options, action, answers string
		before, after                            []string
	}{
		{"swapped", "", "", sdk.ActionReload, "b", []string{"a", "b"}, []string{"b", "a"}},
		{"swapped, lines not understood", "", " source 127.0.0.1", sdk.ActionReload, "b", []string{"a", "b"}, []string{"b", "a"}},
		{"added before", "", "", sdk.ActionReload, "b", []string{"a"}, []string{"b", "a"}},
		{"added behind", "", "", sdk.ActionRuntime, "a", []string{"a"}, []string{"a", "b"}},
		{"first one replaced", "", "", sdk.ActionRuntime, "b", []string{"a", "b"}, []string{"b", "c"}},
		{"all count", "option allbackups", "", sdk.ActionRuntime, "a b", []string{"a"}, []string{"b", "a"}},
		{"all count, swapped", "option allbackups", "", sdk.ActionWritten, "a b", []string{"a", "b"}, []string{"b", "a"}},
		{"not all count after all", "option allbackups\n    no option allbackups", "", sdk.ActionReload, "b",
			[]string{"a"}, []string{"b", "a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newTestEnv(t)
			address := map[string]string{}
			for _, name := range []string{"a", "b", "c"} {
				address[name] = r.named(name).address
			}
			document := func(names []string) sdk.Document {
				lines := []string{test.defaults}
				for _, name := range names {
					lines = append(lines, "server "+name+" "+address[name]+" backup"+test.options)
				}
				return r.lines(lines...)
			}
			s := r.sink()
			r.apply(s, document(test.before), sdk.ActionRestart)
			after := document(test.after)
			r.apply(s, after, test.action)
			r.wantAnswers(test.answers)
			r.awaitDisk(after)
			r.wantAsFresh(s)
		})
	}
}

// A changed order of backup servers is corrected by one reload.
func TestDrift_OrderOfBackups(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	a, b := r.named("a"), r.named("b")
	s := r.watchful()
	r.apply(s, r.lines("server a "+a.address+" backup", "server b "+b.address+" backup"), sdk.ActionRestart)
	before := r.running(s)
	s.change.Lock() // so that no observation happens in between
	r.ask(s, "set server app/a state maint", "del server app/a", "add server app/a "+a.address+" backup",
		"set server app/a state ready")
	s.change.Unlock()
	eventually(t, "HAProxy is reloaded", func() bool {
		now, err := s.controller.Find(t.Context()) // which is none for a moment while 2.6 writes its pid file anew
		return err == nil && now.Worker != 0 && !now.Same(before)
	})
	eventually(t, "the first one counts", func() bool { return r.answeredBy() == "a" })
	r.wantAsFresh(s)
	after := r.running(s)
	seen := s.observedTimes()
	eventually(t, "it is observed again", func() bool { return s.observedTimes() > seen+2 })
	if now := r.running(s); !now.Same(after) {
		t.Error("HAProxy was reloaded more than once")
	}
	wantHealthy(t, s)
}
