package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestExclusion_RejectedInstance(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "dns/1 ok", "web/1 ok", "web/2 bad")
		env.wantLive("web/2",
			"service chat", "server chat/1 ok", "service dns", "server dns/1 ok", "service web", "server web/1 ok")
		env.wantApplies(2)
		want := exclude.Exclusion{Service: "web", Hostname: "h", ID: "2", Reason: "/etc/main:8 (lines.tmpl:3): bad"}
		if s := env.status(); s.Excluded[0] != want || s.Last.Excluded[0] != "web h 2: "+want.Reason || s.Generation != 2 {
			t.Errorf("got %+v, last %+v", s, s.Last)
		}
		// The instance stays excluded when other instances change.
		time.Sleep(time.Minute)
		env.emitInstances("chat/1 ok", "dns/1 ok", "web/1 ok", "web/2 bad")
		env.wantApplies(2)
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 bad")
		env.wantLive("web/2", "service chat", "server chat/1 new", "service web", "server web/1 ok")
		env.wantApplies(3)
		// The instance changes and is rejected again.
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 bad-too")
		env.wantLive("web/2", "service chat", "server chat/1 new", "service web", "server web/1 ok")
		env.wantApplies(4) // the rest is applied already
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 fixed")
		env.wantLive("", "service chat", "server chat/1 new", "service web", "server web/1 ok", "server web/2 fixed")
		env.wantApplies(5)
	})
}

func TestExclusion_EndsWhenInstanceIsGone(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 bad")
		env.wantLive("web/1", "service chat", "server chat/1 ok")
		env.emitInstances("chat/1 ok")
		env.wantLive("", "service chat", "server chat/1 ok")
		env.wantApplies(2)
	})
}

func TestExclusion_RejectedService(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("bad/1 ok", "bad/2 ok", "web/1 ok")
		env.wantLive("bad", "service web", "server web/1 ok")
		if got := env.status().Excluded[0].Reason; got != "/etc/main:2 (lines.tmpl:2): bad" {
			t.Errorf("reason %q", got)
		}
	})
}

func TestExclusion_ServiceAfterItsInstance(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.sink.mu.Lock()
		env.sink.check = inOrder(rejectWords("bad"), rejectWords("service web"))
		env.sink.mu.Unlock()
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 bad")
		env.wantLive("web", "service chat", "server chat/1 ok")
		env.wantApplies(3)
	})
}

func TestExclusion_ManyServicesAtOnce(t *testing.T) {
	runLines(t, func(env *testEnv) {
		instances := []string{"web/good ok"}
		for i := range 50 {
			instances = append(instances, fmt.Sprintf("s%d/1 bad", i))
		}
		env.emitInstances(instances...)
		env.wantApplies(2)
		if got := len(env.status().Excluded); got != 50 {
			t.Errorf("%d instances are excluded", got)
		}
	})
}

// If a rejected line has no owner, or is rejected for every owner, nothing is excluded and the applied document stays.
func TestExclusion_WholeDocumentIsRejected(t *testing.T) {
	for _, test := range []struct {
		name   string
		reject func(sdk.Document) error
		list   []string
		want   string
	}{
		{"the template's own line", rejectWords("lines"), []string{"chat/1 ok", "web/1 ok"}, "/etc/main:1 (lines.tmpl:1): lines"},
		{
			"beside an instance's fault", rejectWords("lines", "bad"), []string{"chat/1 ok", "web/1 bad"},
			"the proxy says no: /etc/main:1 (lines.tmpl:1): lines; " +
				"/etc/main:5 (lines.tmpl:3, service \"web\", instance \"1\" on h): bad",
		},
		{"a line that is wrong for every service", rejectWords("service"), []string{"chat/1 ok", "web/1 ok"}, `service "chat"`},
		{"a line that is wrong for every instance", rejectWords("server"), []string{"chat/1 ok", "web/1 ok"}, `instance "1"`},
		{
			"a line that is wrong wherever it is rendered", rejectWords("server"),
			[]string{"chat/1 ok", "dns/1 quiet", "web/1 ok"}, `service "web"`,
		},
		{"nothing would be left", rejectWords("service"), []string{"web/1 ok", "web/2 ok"}, `service "web"): service`},
		{"no positions", func(sdk.Document) error { return sdk.Rejectf("too long") }, []string{"web/1 ok"}, "too long"},
		{"no line", func(sdk.Document) error {
			return &sdk.Rejection{Err: errors.New("no"), Positions: []sdk.Position{{File: "main", Problem: "too long"}}}
		}, []string{"web/1 ok"}, "no: too long"},
		{"no such file", func(sdk.Document) error {
			return &sdk.Rejection{Err: errors.New("no"), Positions: []sdk.Position{{File: "x", Line: 1, Problem: "too long"}}}
		}, []string{"web/1 ok"}, "no: x:1: too long"},
		{"no such line", func(sdk.Document) error {
			return &sdk.Rejection{Err: errors.New("no"), Positions: []sdk.Position{
				{File: "main", Line: 99, Problem: "a"}, {File: "main", Line: -1, Problem: "b"},
			}}
		}, []string{"web/1 ok"}, "no: main:99: a; main:-1: b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runLines(t, func(env *testEnv) {
				env.emitInstances("old/1 ok")
				env.sink.mu.Lock()
				env.sink.check = test.reject
				env.sink.mu.Unlock()
				env.emitInstances(test.list...)
				s := env.status()
				if !errors.Is(s.ApplyError, sdk.ErrRejected) || !strings.Contains(s.ApplyError.Error(), test.want) {
					t.Errorf("got %v, want %q", s.ApplyError, test.want)
				}
				if s.Excluded != nil || s.Generation != 1 {
					t.Errorf("status %+v", s)
				}
				env.wantApplies(2)
				time.Sleep(time.Minute)
				env.emitInstances(test.list...)
				env.wantApplies(2)
			})
		})
	}
}

func TestExclusion_RejectedAfterSeveralRounds(t *testing.T) {
	for _, test := range []struct {
		name   string
		reject func(sdk.Document) error
		last   string // of the instances
		rounds int
		want   string
	}{
		{
			"a line that is wrong wherever it is rendered", inOrder(rejectWords("server")), "zoo/1 quiet", 2,
			`the proxy says no: /etc/main:3 (lines.tmpl:3, service "chat", instance "1" on h): server; after excluding those: ` +
				`the proxy says no: /etc/main:4 (lines.tmpl:3, service "web", instance "1" on h): server`,
		},
		{
			"the template's own line", inOrder(rejectWords("chat/1"), rejectWords("web/1"), rejectWords("lines")), "zoo/1 ok", 3,
			`the proxy says no: /etc/main:3 (lines.tmpl:3, service "chat", instance "1" on h): chat/1; after excluding those: ` +
				`the proxy says no: /etc/main:1 (lines.tmpl:1): lines`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			runLines(t, func(env *testEnv) {
				env.emitInstances("old/1 ok")
				env.sink.mu.Lock()
				env.sink.check = test.reject
				env.sink.mu.Unlock()
				all := []string{"chat/1 ok", "dns/1 quiet", "web/1 ok", "web/2 quiet", test.last}
				for range 2 { // the second time the rejection is known
					env.emitInstances(all...)
					if s := env.status(); s.ApplyError == nil || s.ApplyError.Error() != test.want || s.Excluded != nil {
						t.Errorf("got %v, want %s", s.ApplyError, test.want)
					}
					env.wantApplies(1 + test.rounds)
				}
			})
		})
	}
}

func TestExclusion_FaultWithoutLine(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.sink.mu.Lock()
		env.sink.check = func(doc sdk.Document) error {
			err := rejectWords("bad")(doc)
			if r, ok := errors.AsType[*sdk.Rejection](err); ok {
				r.Positions = append(r.Positions, sdk.Position{File: "main", Problem: "cannot load it"})
			}
			return err
		}
		env.sink.mu.Unlock()
		env.emitInstances("chat/1 ok", "web/1 bad")
		env.wantLive("web/1", "service chat", "server chat/1 ok")
	})
}

func TestExclusion_TemplateNeedsRejectedInstance(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.edit("lines needs web")
		env.emitInstances("chat/1 ok", "web/1 bad")
		want := `the proxy says no: /etc/main:5 (lines.tmpl:3, service "web", instance "1" on h): bad`
		if s := env.status(); s.ApplyError == nil || s.ApplyError.Error() != want {
			t.Errorf("got %v, want %s", s.ApplyError, want)
		}
	})
}

func TestExclusion_CandidateMustNotExcludeMore(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok")
		env.sink.rejects("lines 2", "service chat")
		env.sink.mu.Lock()
		env.sink.check = func(doc sdk.Document) error {
			if strings.HasPrefix(string(doc.Files[0].Content), "lines 2") {
				return rejectWords("service chat")(doc)
			}
			return nil
		}
		env.sink.mu.Unlock()
		env.edit("lines 2")
		want := `the proxy says no: /etc/main:2 (lines.tmpl:2, service "chat"): service chat`
		if s := env.status(); s.Excluded != nil || s.TemplateError == nil || s.TemplateError.Error() != want {
			t.Errorf("got %+v", s)
		}
		if last := env.status().Last; last.Outcome != history.OutcomeRejected || last.Error != want {
			t.Errorf("the history has %s: %s", last.Outcome, last.Error)
		}
		env.emitInstances("chat/1 ok", "web/1 new")
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 new")
	})
}

func TestExclusion_CandidateExcludesSameInstances(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 bad")
		env.edit("lines 2")
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		if s := env.status(); s.TemplateError != nil || s.Generation != 4 {
			t.Errorf("status %+v", s)
		}
		env.sink.rejects("nothing") // the next version renders a valid line
		env.edit("lines 3")
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 bad")
	})
}

func TestExclusion_FailureKeepsExclusions(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.sink.setError("lines\nservice chat\nserver chat/1 ok", errors.New("disk full"))
		env.emitInstances("chat/1 ok", "web/1 bad")
		env.wantApplies(2)
		if s := env.status(); s.ApplyError == nil || env.excluded() != "web/1" {
			t.Errorf("status %+v", s)
		}
		env.sink.setError("lines\nservice chat\nserver chat/1 ok", nil)
		time.Sleep(time.Second)
		synctest.Wait()
		env.wantApplies(3)
		env.wantLive("web/1", "service chat", "server chat/1 ok")
	})
}

func TestExclusion_EndsWithSinkRestart(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 bad")
		env.sink.rejects("nothing")
		env.sink.restarted <- struct{}{}
		synctest.Wait()
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 bad")
	})
}

func TestTemporaryRejection_IsRetried(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.sink.mu.Lock()
		env.sink.check = temporary(rejectWords("bad"))
		env.sink.mu.Unlock()
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 bad")
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		env.pass(10*time.Second - 1)
		env.wantApplies(2)
		env.pass(time.Second)
		env.wantApplies(3) // the whole document; the rest is applied already
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		env.sink.rejects("nothing")
		env.pass(10 * time.Second)
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 bad")
		env.wantApplies(4)
		env.pass(time.Hour)
		env.wantApplies(4)
	})
}

func TestTemporaryRejection_KeepsLiveInstances(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 fine")
		env.sink.mu.Lock()
		env.sink.check = temporary(rejectWords("fine"))
		env.sink.mu.Unlock()
		env.emitInstances("chat/1 new", "web/1 ok", "web/2 fine")
		if s := env.status(); s.Generation != 1 || s.Excluded != nil || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
		env.sink.rejects("nothing")
		env.pass(time.Minute)
		env.wantLive("", "service chat", "server chat/1 new", "service web", "server web/1 ok", "server web/2 fine")
	})
}

// An instance of a lost document is not live.
func TestTemporaryRejection_AfterLoss(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 ok", "web/2 fine")
		env.sink.mu.Lock()
		env.sink.check = temporary(rejectWords("fine"))
		env.sink.mu.Unlock()
		env.emitLost(sdk.Lost{Err: errors.New("the proxy results")})
		env.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		env.sink.rejects("nothing")
		env.pass(10 * time.Second)
		env.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 fine")
	})
}

// The rest is rejected temporarily, so the rejection of the whole document is not final either.
func TestTemporaryRejection_BesideFinalOne(t *testing.T) {
	runLines(t, func(env *testEnv) {
		env.emitInstances("chat/1 ok", "web/1 fine")
		bad, fine := rejectWords("bad"), temporary(rejectWords("fine"))
		env.sink.mu.Lock()
		env.sink.check = func(doc sdk.Document) error {
			if err := bad(doc); err != nil {
				return err
			}
			return fine(doc)
		}
		env.sink.mu.Unlock()
		env.emitInstances("chat/1 bad", "dns/1 ok", "web/1 fine")
		if s := env.status(); s.ApplyError == nil || errors.Is(s.ApplyError, sdk.ErrRejected) {
			t.Errorf("got %v", s.ApplyError)
		}
		env.sink.rejects("bad")
		env.pass(time.Minute)
		env.wantLive("chat/1", "service dns", "server dns/1 ok", "service web", "server web/1 fine")
	})
}

// The position of a rejected document is the line of the template that rendered the first line whose origin is known.
func TestExplain_Position(t *testing.T) {
	files := []sdk.File{{Name: "main", Content: []byte("bad")}}
	err := rejectWords("bad")(sdk.Document{Files: files})
	got := exclude.Explain(t.Context(), linesTemplate("bad"), sdk.Snapshot{}, files, err)
	at, ok := PositionOf(&TemplateError{got})
	if !ok || at.File == "" || at.Line < 1 || !strings.Contains(got.Error(), fmt.Sprintf("(%s:%d)", at.File, at.Line)) {
		t.Errorf("got %+v, %v of %v", at, ok, got)
	}
	if at, ok := PositionOf(exclude.Explain(t.Context(), fakeTemplate("v1"), sdk.Snapshot{}, files, err)); ok {
		t.Errorf("got %+v without a source map", at)
	}
}

func TestExplain_OtherErrors(t *testing.T) {
	for _, err := range []error{nil, errors.New("disk full"), sdk.Rejectf("no"), sdk.Deferred("later", time.Second)} {
		got := exclude.Explain(t.Context(), linesTemplate("x"), sdk.Snapshot{}, nil, err)
		if fmt.Sprint(got) != fmt.Sprint(err) || !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	files := []sdk.File{{Name: "main", Content: []byte("bad")}}
	err := errors.Join(rejectWords("bad")(sdk.Document{Files: files}), errors.New("and more"))
	got := exclude.Explain(t.Context(), fakeTemplate("v1"), sdk.Snapshot{}, files, err) // without a source map
	if got.Error() != "the proxy says no: /etc/main:1: bad\nand more" || !errors.Is(got, sdk.ErrRejected) {
		t.Errorf("got %v", got)
	}
}
