package haproxy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/procinfo"
)

// environmentDocument returns a document that answers with the value of V, and has the lines in its global section.
func (r *testEnv) environmentDocument(global ...string) sdk.Document {
	lines := "global\n    " + strings.Join(global, "\n    ") + "\n"
	return edited(edited(r.document("NAME"), "X-Is NAME", `X-Is "V=${V}"`), "global\n", lines)
}

// masters counts the processes that were started on the files of r and have no parent among them.
func (r *testEnv) masters() int {
	count := 0
	pids := processesOn(r.t, r.dir)
	for _, pid := range pids {
		if !slices.Contains(pids, procinfo.Parent(pid)) {
			count++
		}
	}
	return count
}

// A running master keeps its environment, and is replaced if a HAProxy that is started now would have another one.
func TestEnvironment_IsThatOfAStart(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []string // of the global section, one document after the other
		want  []string // V in each
	}{
		{"presetenv edited", []string{"presetenv V A", "presetenv V B", "presetenv V A"}, []string{"A", "B", "A"}},
		{"presetenv removed", []string{"presetenv V A", "maxconn 50"}, []string{"A", "own"}},
		{"setenv edited", []string{"setenv V A", "setenv V B"}, []string{"A", "B"}},
		{"setenv removed", []string{"setenv V A", "maxconn 50"}, []string{"A", "own"}},
		{"setenv adds up", []string{`setenv V "${V}A"`, `setenv V "${V}B"`}, []string{"ownA", "ownB"}},
		{"setenv of another variable", []string{"setenv W A\n    presetenv V \"$W\"", "setenv W B\n    presetenv V \"$W\""},
			[]string{"A", "B"}},
		{"unsetenv removed", []string{"unsetenv V", "maxconn 50"}, []string{"", "own"}},
		{"resetenv", []string{"resetenv PATH", "resetenv PATH\n    maxconn 50", "resetenv PATH V", "maxconn 60"},
			[]string{"", "", "own", "own"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestEnv(t)
			if strings.HasPrefix(test.name, "presetenv") || strings.Contains(test.name, "another") {
				check(t, os.Unsetenv("V"))
			}
			if test.want[len(test.want)-1] == "own" || test.want[0] == "ownA" {
				t.Setenv("V", "own")
			}
			if test.name == "presetenv removed" {
				test.lines[0] = "unsetenv V\n    presetenv V A"
			}
			s := r.sink()
			r.apply(s, r.environmentDocument(test.lines[0]), sdk.ActionRestart)
			r.wantServed("V=" + test.want[0])
			asked, failed := r.underLoad(func() {
				for i, line := range test.lines[1:] {
					_, err := s.Apply(t.Context(), r.environmentDocument(line))
					check(t, err)
					r.wantServed("V=" + test.want[i+1])
				}
			})
			if failed > 0 || asked == 0 {
				t.Errorf("%d of %d requests failed", failed, asked)
			}
			r.apply(s, r.environmentDocument(test.lines[len(test.lines)-1]), sdk.ActionUnchanged)
			wantHealthy(t, s)
			eventually(t, "one master runs", func() bool { return r.masters() == 1 })
		})
	}
}

// A reload is enough where the configuration does not depend on the environment.
func TestEnvironment_NotUsedByTheConfiguration(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	s := r.sink()
	r.apply(s, r.environmentDocument("setenv V A", "presetenv W B"), sdk.ActionRestart)
	master := r.running(s).Pids[0]
	r.apply(s, r.environmentDocument("setenv V A", "presetenv W B", "maxconn 50"), sdk.ActionReload)
	r.apply(s, r.environmentDocument("setenv V B", "presetenv W B", "maxconn 50"), sdk.ActionReload)
	r.wantServed("V=B")
	if now := r.running(s).Pids[0]; now != master {
		t.Errorf("the master was %d and is %d", master, now)
	}
}

// The environment of the plugin may have changed after a restart.
func TestEnvironment_ChangedAfterARestart(t *testing.T) {
	for name, set := range map[string]func(r *testEnv){
		"managed": func(*testEnv) {},
		"command": func(r *testEnv) { r.cfg.Mode = ModeCommand },
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestEnv(t)
			set(r)
			t.Setenv("V", "A")
			first := r.sink()
			doc := r.environmentDocument("maxconn 50")
			r.apply(first, doc, sdk.ActionRestart)
			r.wantServed("V=A")
			r.stop(first)

			t.Setenv("UNRELATED", "x")
			second := r.sink()
			r.apply(second, doc, sdk.ActionUnchanged)
			r.stop(second)

			t.Setenv("V", "B")
			third := r.sink()
			_, err := third.Apply(t.Context(), doc)
			check(t, err)
			r.wantServed("V=B")
			now := r.running(third)
			r.apply(third, doc, sdk.ActionUnchanged)
			r.stop(third)

			fourth := r.sink()
			r.apply(fourth, doc, sdk.ActionUnchanged)
			if again := r.running(fourth); !again.Same(now) {
				t.Errorf("HAProxy was %v and is %v", now, again)
			}
		})
	}
}

// A master that another program has started has to be restarted by that program, and Health reports that. From 3.1 on a reload is
// enough.
func TestEnvironment_OfAnotherProgramsMaster(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	check(t, os.WriteFile(r.cfg.ConfigFile, r.environmentDocument("presetenv V A").Files[0].Content, 0o644))
	r.startMaster("", "-f", r.cfg.ConfigFile)
	s := r.sink()
	r.apply(s, r.environmentDocument("presetenv V A", "maxconn 50"), sdk.ActionReload)
	result := r.apply(s, r.environmentDocument("presetenv V B", "maxconn 50"), sdk.ActionReload)
	h, err := s.Health(t.Context())
	check(t, err)
	if r.atLeast31() {
		r.wantServed("V=B")
		if h.Facts["restart_needed"] != "" {
			t.Errorf("Health asks for a restart: %v", h.Facts)
		}
		return
	}
	r.wantServed("V=A")
	if !strings.Contains(h.Facts["restart_needed"], "V") || len(result.Details) == 0 {
		t.Errorf("the need for a restart is not reported: %v, %q", h.Facts, result.Details)
	}
	r.apply(s, r.environmentDocument("presetenv V A", "maxconn 50"), sdk.ActionReload)
	h, err = s.Health(t.Context())
	check(t, err)
	if h.Facts["restart_needed"] != "" {
		t.Errorf("Health asks for a restart: %v", h.Facts)
	}
}

// With resetenv a master that reloads becomes a second HAProxy.
func TestCheck_ResetenvForAnotherProgramsMaster(t *testing.T) {
	t.Parallel()
	r := newTestEnv(t)
	r.startMaster("one", "-f", r.cfg.ConfigFile)
	s := r.sink()
	err := s.Check(t.Context(), r.environmentDocument("resetenv PATH"))
	wantError(t, err, "resetenv")
}
