package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func (env *testEnv) setCheck(check func(sdk.Document) error) {
	env.sink.mu.Lock()
	defer env.sink.mu.Unlock()
	env.sink.check = check
}

// A template that does not end in time is not the fault of the instance that it was rendering.
func TestExclusion_EndlessIteration(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok")
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 fail-endless")
		env.wantApplies(1)
		if s := env.status(); s.ApplyError == nil || len(s.Excluded) > 0 {
			t.Errorf("error %v, excluded %v", s.ApplyError, s.Excluded)
		}
	})
}

func TestExclusion_FailingIteration(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 fail")
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		env.wantApplies(1)
		if got := env.status().Excluded[0].Reason; got != "lines.tmpl:3:7: no shard" {
			t.Errorf("reason %q", got)
		}
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 fail")
		env.wantLive("web/2", "service chat", "server chat/1 new", "service web", "server web/1 ok")
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 ok")
		env.wantLive("", "service chat", "server chat/1 new", "service web", "server web/1 ok", "server web/2 ok")
	})
}

func TestExclusion_ManyFailingIterations(t *testing.T) {
	for text, applies := range map[string]int{"lines": 1, "lines one by one": 1} {
		runLines(t, func(env *testEnv) {
			instances := []string{"chat/1 ok"}
			for i := range 5 {
				instances = append(instances, fmt.Sprintf("s%d/1 fail", i), fmt.Sprintf("s%d/2 ok", i))
			}
			env.edit(text)
			env.emitInstances(instances...)
			env.wantApplies(applies)
			if s := env.status(); len(s.Excluded) != 5 || s.Generation != 1 || s.ApplyError != nil {
				t.Errorf("%s: %+v", text, s)
			}
		})
	}
}

// An iteration may depend on more than its own instance.
func TestExclusion_FailingIterationIsRetried(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.edit("lines fails everywhere")
		env.emitInstances("chat/1 ok", "web/1 ok")
		if s := env.status(); s.Generation != 0 || !isTemplateError(s.ApplyError) {
			t.Errorf("every instance was excluded: %+v", s)
		}
	})
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 fail")
		rendered := env.status().Generation
		env.pass(2 * time.Minute)
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		if s := env.status(); s.Generation != rendered {
			t.Errorf("generation %d", s.Generation)
		}
		env.wantApplies(1)
	})
}

func isTemplateError(err error) bool {
	_, ok := errors.AsType[*TemplateError](err)
	return ok
}

func TestExclusion_FailingIterationOfCandidate(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 fail")
		env.edit("lines fails everywhere")
		if s := env.status(); !isTemplateError(s.TemplateError) || s.Generation != 1 || env.excluded() != "web/2" {
			t.Errorf("status %+v", s)
		}
		env.edit("lines 2")
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
	})
}

// A template may have been edited while the daemon was down.
func TestExclusion_FirstTemplateOfRun(t *testing.T) {
	guard := Guard{MaxDrop: 0.5, MinInstances: 10, Hold: time.Minute}
	for bad, left := range map[int]int{0: 0, 5: 5, 15: 0} {
		store := newFakeStateStore()
		runWith(t, store, "lines", guard, func(env *testEnv) {
			var all []string
			for i := range 20 {
				all = append(all, fmt.Sprintf("s%d/1 ok", i))
			}
			env.emitInstances(all...)
		})
		for i := range bad {
			store.snapshots["s"].Services[i].Instances[0].Image = "fail"
		}
		runWith(t, store, "lines 2", guard, func(env *testEnv) {
			if s := env.status(); len(s.Excluded) != left || (s.ApplyError != nil) != (bad > left) {
				t.Errorf("%d bad: %+v", bad, s)
			}
		})
	}
}

func TestExclusion_ManyRejected(t *testing.T) {
	for _, test := range []struct {
		name            string
		services, each  int // with bad instances
		atATime, checks int
	}{
		{"51 in one service", 1, 51, 50, 3},
		{"500 services", 500, 1, 50, 9},
		{"10,000 in one service, all reported", 1, 10_000, 10_000, 2},
		{"2,000 in one service, 50 reported", 1, 2_000, 50, 4},
		{"10,000 in 100 services, all reported", 100, 100, 10_000, 2},
		{"100 in one service, one by one", 1, 100, 1, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			runLines(t, func(env *testEnv) {
				env.emitInstances("chat/1 ok", "web/1 ok")
				env.setCheck(firstOnly(test.atATime, rejectWords("bad")))
				instances := []string{"chat/1 ok", "new/1 ok", "web/1 ok"}
				for s := range test.services {
					for i := range test.each {
						instances = append(instances, fmt.Sprintf("s%d/%d bad", s, i))
					}
					instances = append(instances, fmt.Sprintf("s%d/ok ok", s))
				}
				env.emitInstances(instances...)
				if got := env.sink.applies() - 1; got > test.checks {
					t.Errorf("%d checks, want %d", got, test.checks)
				}
				live := strings.Join(env.sink.live(), "\n")
				for _, want := range []string{"chat/1 ok", "new/1 ok", "web/1 ok"} {
					if !strings.Contains(live, "server "+want) {
						t.Errorf("%s is not live", want)
					}
				}
				env.pass(time.Hour)
				live = strings.Join(env.sink.live(), "\n")
				got, out := strings.Count(live, "/ok ok"), len(env.status().Excluded)
				if got != test.services || out != test.services*test.each {
					t.Errorf("%d services live, %d instances excluded", got, out)
				}
			})
		})
	}
}

func TestExclusion_HistoryIsBounded(t *testing.T) {
	runLines(t, func(env *testEnv) {
		instances := []string{"chat/1 ok"}
		for i := range 1000 {
			instances = append(instances, fmt.Sprintf("web/%d bad", i))
		}
		env.emitInstances(instances...)
		if s := env.status(); len(s.Excluded) != 1000 || len(s.Last.Excluded) != maxNotes+1 {
			t.Errorf("%d in the status, %d in the history", len(s.Excluded), len(s.Last.Excluded))
		}
	})
}

// A sink may reject a valid line for a while, such as an address that another process uses.
func TestExclusion_RejectionWithRetryAfter(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.setCheck(func(doc sdk.Document) error {
			if err := rejectWords("taken")(doc); err != nil {
				return sdk.RetryAfter(err, 10*time.Second)
			}
			return nil
		})
		env.emitInstances("chat/1 ok", "web/1 taken")
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		env.pass(30 * time.Second)
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		env.setCheck(func(sdk.Document) error { return nil })
		env.pass(11 * time.Second)
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 taken")
	})
	// If the rejected line has no owner, the whole document is retried.
	runLines(t, func(env *testEnv) {
		env.setCheck(func(sdk.Document) error { return sdk.RetryAfter(rejectWords("lines")(sdk.Document{}), time.Second) })
		env.setCheck(func(doc sdk.Document) error { return sdk.RetryAfter(rejectWords("lines")(doc), time.Second) })
		env.emitInstances("chat/1 ok")
		if s := env.status(); s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
		env.setCheck(func(sdk.Document) error { return nil })
		env.pass(time.Minute)
		env.wantLive("", "service chat", "server chat/1 ok")
	})
}

// emitAged is emitInstances with instances that are each created a day after the previous one.
func (env *testEnv) emitAged(instances ...string) {
	day := 24 * time.Hour
	born := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []sdk.Instance
	for i, text := range instances {
		name, rest, _ := strings.Cut(text, "/")
		id, image, _ := strings.Cut(rest, " ")
		created := born.Add(time.Duration(i) * day)
		all = append(all, sdk.Instance{ID: id, Name: name, Hostname: "h", Image: image, Created: created})
	}
	env.emit(all)
}

func TestConflict_OlderServiceWins(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitAged("web/1 claim80", "chat/1 claim80", "dns/1 ok")
		env.wantLive("chat/1", "service dns", "server dns/1 ok", "service web", "server web/1 claim80")
		env.wantApplies(1)
		env.emitAged("chat/1 claim80", "web/1 claim80", "dns/1 ok")
		env.wantLive("web/1", "service chat", "server chat/1 claim80", "service dns", "server dns/1 ok")
		// The name decides between services of the same age.
		env.emitInstances("chat/1 claim80", "web/1 claim80")
		env.wantLive("web/1", "service chat", "server chat/1 claim80")
		// The exclusion ends when the winner is gone or claims something else.
		env.emitInstances("chat/1 claim81", "web/1 claim80")
		env.wantLive("", "service chat", "server chat/1 claim81", "service web", "server web/1 claim80")
	})
}

func TestConflict_TemplateWins(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.edit("lines claim80")
		env.emitInstances("chat/1 ok", "web/1 claim80")
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		if got := env.status().Excluded[0].Reason; !strings.HasPrefix(got, "/etc/main:5 (lines.tmpl:3): claim80") ||
			!strings.Contains(got, "the template itself has in line 1") {
			t.Errorf("reason %q", got)
		}
		env.emitInstances("web/1 claim80") // although nothing is left
		env.wantLive("web/1", []string{}...)
	})
}

// c conflicts only with b, which is excluded because of a.
func TestConflict_LoserExcludesNothing(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitAged("a/1 claim1", "b/1 claim1/claim2", "c/1 claim2")
		env.wantLive("b/1", "service a", "server a/1 claim1", "service c", "server c/1 claim2")
	})
}

func TestConflict_SameOwner(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.edit("lines claim80 claim80")
		env.emitInstances("chat/1 claim81", "chat/2 claim81", "web/1 ok")
		env.wantLive("", "service chat", "server chat/1 claim81", "server chat/2 claim81", "service web", "server web/1 ok")
	})
}

func TestConflict_OfCandidate(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 claim80")
		env.edit("lines claim80")
		if s := env.status(); s.TemplateError == nil || s.Generation != 1 || s.Excluded != nil {
			t.Errorf("status %+v", s)
		}
	})
}

// checkingSink is a fakeSink with Check.
type checkingSink struct{ *fakeSink }

func (s checkingSink) Check(_ context.Context, doc sdk.Document) error {
	if s.check == nil {
		return nil
	}
	return s.check(doc)
}

// One bad instance does not prevent a configuration with a new pipeline from being loaded.
func TestChange_NewPipelineExcludes(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "dns/1 bad", "web/1 ok", "web/2 fail")
		next := env.next()
		second := newFakeSink()
		second.check = rejectWords("bad")
		next.Pipelines = append(next.Pipelines, PipelineConfig{
			Name: "q", Source: "s", Templates: newFakeTemplates("lines q"), Sink: checkingSink{second},
		})
		env.must(env.change(next))
		status := env.engine.Status()[1]
		if len(status.Excluded) != 2 || status.ApplyError != nil || len(second.live()) != 4 {
			t.Errorf("status %+v, live %q", status, second.live())
		}
		next = env.next()
		next.Pipelines[0].Templates = newFakeTemplates("lines fails everywhere")
		if err := env.change(next); !isTemplateError(err) {
			t.Errorf("got %v", err)
		}
	})
}
