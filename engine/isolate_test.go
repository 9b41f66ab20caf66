package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func TestExclusion_RejectedInstance(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "dns/1 ok", "web/1 ok", "web/2 bad")
		w.wantLive("web/2",
			"service chat", "server chat/1 ok", "service dns", "server dns/1 ok", "service web", "server web/1 ok")
		w.wantAsked(2)
		want := exclude.Exclusion{Service: "web", Hostname: "h", ID: "2", Reason: "/etc/main:8 (lines.tmpl:3): bad"}
		if s := w.status(); s.Excluded[0] != want || s.Last.Excluded[0] != want || s.Generation != 2 {
			t.Errorf("got %+v, last %+v", s, s.Last)
		}
		// It is left out at once, however the others change.
		time.Sleep(time.Minute)
		w.list("chat/1 ok", "dns/1 ok", "web/1 ok", "web/2 bad")
		w.wantAsked(2)
		w.list("chat/1 new", "web/1 ok", "web/2 bad")
		w.wantLive("web/2", "service chat", "server chat/1 new", "service web", "server web/1 ok")
		w.wantAsked(3)
		// It differs, and still is no good.
		w.list("chat/1 new", "web/1 ok", "web/2 bad-too")
		w.wantLive("web/2", "service chat", "server chat/1 new", "service web", "server web/1 ok")
		w.wantAsked(4) // what is left is in effect
		w.list("chat/1 new", "web/1 ok", "web/2 mended")
		w.wantLive("", "service chat", "server chat/1 new", "service web", "server web/1 ok", "server web/2 mended")
		w.wantAsked(5)
	})
}

func TestOneThatIsGoneIsNoLongerLeftOut(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 bad")
		w.wantLive("web/1", "service chat", "server chat/1 ok")
		w.list("chat/1 ok")
		w.wantLive("", "service chat", "server chat/1 ok")
		w.wantAsked(2)
	})
}

func TestOneBadServiceSpoilsOnlyItself(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("bad/1 ok", "bad/2 ok", "web/1 ok")
		w.wantLive("bad", "service web", "server web/1 ok")
		if got := w.status().Excluded[0].Reason; got != "/etc/main:2 (lines.tmpl:2): bad" {
			t.Errorf("reason %q", got)
		}
	})
}

func TestAServiceThatIsRejectedWithoutItsBadInstanceIsLeftOut(t *testing.T) {
	playLines(t, func(w *world) {
		w.sink.mu.Lock()
		w.sink.judge = oneByOne(rejecting("bad"), rejecting("service web"))
		w.sink.mu.Unlock()
		w.list("chat/1 ok", "web/1 ok", "web/2 bad")
		w.wantLive("web", "service chat", "server chat/1 ok")
		w.wantAsked(3)
	})
}

func TestManyBadOnesAreLeftOutInOneRound(t *testing.T) {
	playLines(t, func(w *world) {
		instances := []string{"web/good ok"}
		for i := range 50 {
			instances = append(instances, fmt.Sprintf("s%d/1 bad", i))
		}
		w.list(instances...)
		w.wantAsked(2)
		if got := len(w.status().Excluded); got != 50 {
			t.Errorf("%d are left out", got)
		}
	})
}

// Where it is nobody's fault, or everybody's, the last good document stays in effect as a whole.
func TestWhatIsNobodysFaultIsRejected(t *testing.T) {
	for _, test := range []struct {
		name   string
		reject func(sdk.Document) error
		list   []string
		want   string
	}{
		{"the template's own line", rejecting("lines"), []string{"chat/1 ok", "web/1 ok"}, "/etc/main:1 (lines.tmpl:1): lines"},
		{
			"beside an instance's fault", rejecting("lines", "bad"), []string{"chat/1 ok", "web/1 bad"},
			"the proxy says no: /etc/main:1 (lines.tmpl:1): lines; " +
				"/etc/main:5 (lines.tmpl:3, service \"web\", instance \"1\" on h): bad",
		},
		{"a line that is wrong for every service", rejecting("service"), []string{"chat/1 ok", "web/1 ok"}, `service "chat"`},
		{"a line that is wrong for every instance", rejecting("server"), []string{"chat/1 ok", "web/1 ok"}, `instance "1"`},
		{
			"a line that is wrong wherever it is rendered", rejecting("server"),
			[]string{"chat/1 ok", "dns/1 quiet", "web/1 ok"}, `service "web"`,
		},
		{"nothing would be left", rejecting("service"), []string{"web/1 ok", "web/2 ok"}, `service "web"): service`},
		{"no places", func(sdk.Document) error { return sdk.Rejectf("too long") }, []string{"web/1 ok"}, "too long"},
		{"no line", func(sdk.Document) error {
			return sdk.RejectAt([]sdk.Place{{File: "main", Problem: "too long"}}, "no")
		}, []string{"web/1 ok"}, "no: too long"},
		{"no such file", func(sdk.Document) error {
			return sdk.RejectAt([]sdk.Place{{File: "x", Line: 1, Problem: "too long"}}, "no")
		}, []string{"web/1 ok"}, "no: x:1: too long"},
		{"no such line", func(sdk.Document) error {
			return sdk.RejectAt([]sdk.Place{{File: "main", Line: 99, Problem: "a"}, {File: "main", Line: -1, Problem: "b"}}, "no")
		}, []string{"web/1 ok"}, "no: main:99: a; main:-1: b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			playLines(t, func(w *world) {
				w.list("old/1 ok")
				w.sink.mu.Lock()
				w.sink.judge = test.reject
				w.sink.mu.Unlock()
				w.list(test.list...)
				s := w.status()
				if !errors.Is(s.ApplyError, sdk.ErrRejected) || !strings.Contains(s.ApplyError.Error(), test.want) {
					t.Errorf("got %v, want %q", s.ApplyError, test.want)
				}
				if s.Excluded != nil || s.Generation != 1 {
					t.Errorf("status %+v", s)
				}
				w.wantAsked(2)
				time.Sleep(time.Minute)
				w.list(test.list...)
				w.wantAsked(2)
			})
		})
	}
}

func TestWhatComesToLightInSeveralRounds(t *testing.T) {
	for _, test := range []struct {
		name   string
		reject func(sdk.Document) error
		last   string // of the instances
		rounds int
		want   string
	}{
		{
			"a line that is wrong wherever it is rendered", oneByOne(rejecting("server")), "zoo/1 quiet", 2,
			`the proxy says no: /etc/main:3 (lines.tmpl:3, service "chat", instance "1" on h): server; and without that: ` +
				`the proxy says no: /etc/main:4 (lines.tmpl:3, service "web", instance "1" on h): server`,
		},
		{
			"the template's own line", oneByOne(rejecting("chat/1"), rejecting("web/1"), rejecting("lines")), "zoo/1 ok", 3,
			`the proxy says no: /etc/main:3 (lines.tmpl:3, service "chat", instance "1" on h): chat/1; and without that: ` +
				`the proxy says no: /etc/main:1 (lines.tmpl:1): lines`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			playLines(t, func(w *world) {
				w.list("old/1 ok")
				w.sink.mu.Lock()
				w.sink.judge = test.reject
				w.sink.mu.Unlock()
				all := []string{"chat/1 ok", "dns/1 quiet", "web/1 ok", "web/2 quiet", test.last}
				for range 2 { // the second time it is known
					w.list(all...)
					if s := w.status(); s.ApplyError == nil || s.ApplyError.Error() != test.want || s.Excluded != nil {
						t.Errorf("got %v, want %s", s.ApplyError, test.want)
					}
					w.wantAsked(1 + test.rounds)
				}
			})
		})
	}
}

func TestAFaultWithoutALineDoesNotKeepTheOthersFromGoingLive(t *testing.T) {
	playLines(t, func(w *world) {
		w.sink.mu.Lock()
		w.sink.judge = func(doc sdk.Document) error {
			err := rejecting("bad")(doc)
			if r, ok := errors.AsType[*sdk.Rejection](err); ok {
				r.Places = append(r.Places, sdk.Place{File: "main", Problem: "cannot load it"})
			}
			return err
		}
		w.sink.mu.Unlock()
		w.list("chat/1 ok", "web/1 bad")
		w.wantLive("web/1", "service chat", "server chat/1 ok")
	})
}

func TestWhatTheRestNeedsIsNotLeftOut(t *testing.T) {
	playLines(t, func(w *world) {
		w.edit("lines needs web")
		w.list("chat/1 ok", "web/1 bad")
		want := `the proxy says no: /etc/main:5 (lines.tmpl:3, service "web", instance "1" on h): bad`
		if s := w.status(); s.ApplyError == nil || s.ApplyError.Error() != want {
			t.Errorf("got %v, want %s", s.ApplyError, want)
		}
	})
}

func TestACandidateIsBlamedForWhatTheActiveVersionDoesWell(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 ok")
		w.sink.rejects("lines 2", "service chat")
		w.sink.mu.Lock()
		w.sink.judge = func(doc sdk.Document) error {
			if strings.HasPrefix(string(doc.Files[0].Content), "lines 2") {
				return rejecting("service chat")(doc)
			}
			return nil
		}
		w.sink.mu.Unlock()
		w.edit("lines 2")
		want := `the proxy says no: /etc/main:2 (lines.tmpl:2, service "chat"): service chat`
		if s := w.status(); s.Excluded != nil || s.TemplateError == nil || s.TemplateError.Error() != want {
			t.Errorf("got %+v", s)
		}
		w.list("chat/1 ok", "web/1 new")
		w.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 new")
	})
}

func TestACandidateMayLeaveOutWhomTheActiveVersionLeavesOut(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 ok", "web/2 bad")
		w.edit("lines 2")
		w.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		if s := w.status(); s.TemplateError != nil || s.Generation != 4 {
			t.Errorf("status %+v", s)
		}
		w.sink.rejects("nothing") // the next version renders it well
		w.edit("lines 3")
		w.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 bad")
	})
}

func TestAFailureOnTheWayCostsNoOtherLook(t *testing.T) {
	playLines(t, func(w *world) {
		w.sink.answer("lines\nservice chat\nserver chat/1 ok", errors.New("disk full"))
		w.list("chat/1 ok", "web/1 bad")
		w.wantAsked(2)
		if s := w.status(); s.ApplyError == nil || w.excluded() != "web/1" {
			t.Errorf("status %+v", s)
		}
		w.sink.answer("lines\nservice chat\nserver chat/1 ok", nil)
		time.Sleep(time.Second)
		synctest.Wait()
		w.wantAsked(3)
		w.wantLive("web/1", "service chat", "server chat/1 ok")
	})
}

func TestARestartedSinkIsAskedAgainAboutThoseLeftOut(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 bad")
		w.sink.rejects("nothing")
		w.sink.restarted <- struct{}{}
		synctest.Wait()
		w.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 bad")
	})
}

func TestATroubleThatMayPassIsLookedAtAgain(t *testing.T) {
	playLines(t, func(w *world) {
		w.sink.mu.Lock()
		w.sink.judge = forNow(rejecting("bad"))
		w.sink.mu.Unlock()
		w.list("chat/1 ok", "web/1 ok", "web/2 bad")
		w.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		w.pass(10*time.Second - 1)
		w.wantAsked(2)
		w.pass(time.Second)
		w.wantAsked(3) // about the whole; what is left is in effect
		w.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		w.sink.rejects("nothing")
		w.pass(10 * time.Second)
		w.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 bad")
		w.wantAsked(4)
		w.pass(time.Hour)
		w.wantAsked(4)
	})
}

func TestATroubleThatMayPassTakesNothingAwayThatIsLive(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 ok", "web/2 fine")
		w.sink.mu.Lock()
		w.sink.judge = forNow(rejecting("fine"))
		w.sink.mu.Unlock()
		w.list("chat/1 new", "web/1 ok", "web/2 fine")
		if s := w.status(); s.Generation != 1 || s.Excluded != nil || s.ApplyError == nil {
			t.Errorf("status %+v", s)
		}
		w.sink.rejects("nothing")
		w.pass(time.Minute)
		w.wantLive("", "service chat", "server chat/1 new", "service web", "server web/1 ok", "server web/2 fine")
	})
}

// What the sink has lost is not live any more.
func TestTemporaryRejection_AfterALoss(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 ok", "web/2 fine")
		w.sink.mu.Lock()
		w.sink.judge = forNow(rejecting("fine"))
		w.sink.mu.Unlock()
		w.lose(sdk.Lost{Err: errors.New("the proxy ended")})
		w.wantLive("web/2", "service chat", "server chat/1 ok", "service web", "server web/1 ok")
		w.sink.rejects("nothing")
		w.pass(10 * time.Second)
		w.wantLive("", "service chat", "server chat/1 ok", "service web", "server web/1 ok", "server web/2 fine")
	})
}

// The rest is held up by a trouble that passes, so the whole is no final matter either.
func TestAFaultBesideATroubleThatMayPassIsTriedAgain(t *testing.T) {
	playLines(t, func(w *world) {
		w.list("chat/1 ok", "web/1 fine")
		bad, fine := rejecting("bad"), forNow(rejecting("fine"))
		w.sink.mu.Lock()
		w.sink.judge = func(doc sdk.Document) error {
			if err := bad(doc); err != nil {
				return err
			}
			return fine(doc)
		}
		w.sink.mu.Unlock()
		w.list("chat/1 bad", "dns/1 ok", "web/1 fine")
		if s := w.status(); s.ApplyError == nil || errors.Is(s.ApplyError, sdk.ErrRejected) {
			t.Errorf("got %v", s.ApplyError)
		}
		w.sink.rejects("bad")
		w.pass(time.Minute)
		w.wantLive("chat/1", "service dns", "server dns/1 ok", "service web", "server web/1 fine")
	})
}

func TestExplainLeavesOtherErrorsAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("disk full"), sdk.Rejectf("no"), sdk.Deferred("later", time.Second)} {
		got := exclude.Explain(t.Context(), linesTemplate("x"), sdk.Snapshot{}, nil, err)
		if fmt.Sprint(got) != fmt.Sprint(err) || !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	files := []sdk.File{{Name: "main", Content: []byte("bad")}}
	err := errors.Join(rejecting("bad")(sdk.Document{Files: files}), errors.New("and more"))
	got := exclude.Explain(t.Context(), playedTemplate("v1"), sdk.Snapshot{}, files, err) // which cannot tell
	if got.Error() != "the proxy says no: /etc/main:1: bad\nand more" || !errors.Is(got, sdk.ErrRejected) {
		t.Errorf("got %v", got)
	}
}
