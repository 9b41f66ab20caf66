package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// In any order of events, and over restarts of the daemon, the history agrees with the status, and an entry is deferred or failed
// only while another attempt follows.
func TestHistory_AnyOrderOfEvents(t *testing.T) {
	const times, restarts, steps = 200, 2, 12
	for range times {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		store := newFakeStateStore()
		var did []string
		for range 1 + restarts {
			runHistory(t, store, Guard{}, func(t *testing.T, env *historyEnv) {
				for range steps {
					did = append(did, env.doAnything(r))
					if err := env.checkHistory(); err != nil {
						t.Fatalf("seed %d, after %s: %v", seed, strings.Join(did, ", "), err)
					}
				}
			})
			did = append(did, "restart of the daemon")
		}
	}
}

// doAnything does one of the things that can happen to a pipeline, and returns what.
func (env *historyEnv) doAnything(r *rand.Rand) string {
	service, template := string(rune('a'+r.IntN(3))), fmt.Sprint("v", 1+r.IntN(2))
	fault := []error{
		nil, nil, errPlain, errNotLoaded, sdk.Rejectf("wrong"), sdk.Deferred("wait", time.Duration(1+r.IntN(100))*time.Second),
	}[r.IntN(6)]
	switch r.IntN(12) {
	case 0, 1, 2:
		env.emitServices(service)
		return "push " + service
	case 3, 4, 5:
		env.sink.setError(template+":"+service, fault)
		return fmt.Sprintf("fault of %s:%s %v", template, service, fault)
	case 6:
		env.edit(template)
		return "edit " + template
	case 7:
		env.pass(time.Duration(1+r.IntN(200)) * time.Second)
		return "time"
	case 8:
		env.requestApply()
		return "request"
	case 9:
		env.sink.restarted <- struct{}{}
		synctest.Wait()
		return "restart of the sink"
	case 10:
		lost := []error{errPlain, errNotLoaded}[r.IntN(2)]
		env.emitLost(sdk.Lost{Err: lost})
		return "lost " + lost.Error()
	default:
		env.rereads(fault)
		env.files.write("/certs/a", fmt.Sprint(r.Uint64()))
		return fmt.Sprintf("file %v", fault)
	}
}

// checkHistory returns how the history contradicts the state of the pipeline, which is idle.
func (env *historyEnv) checkHistory() error {
	status, p := env.status(), env.engine.current().pipelines[0]
	s := &p.state
	for _, c := range env.changes() {
		waits := c.Generation == s.inputs.entry || c.Document == s.generation && !status.InSync ||
			s.pending != nil && c.Document == s.pending.document.Generation
		if (c.Outcome == history.OutcomeDeferred || c.Outcome == history.OutcomeFailed) && !waits {
			return fmt.Errorf("change %d is %s, and nothing follows", c.Generation, c.Outcome)
		}
	}
	inEffect := p.history.InEffect()
	if status.Digest == "" {
		return nil
	}
	if inEffect == nil || inEffect.Digest != status.Digest || !inEffect.Updated.Equal(status.Since) {
		return fmt.Errorf("in effect is %+v, and the status says %.8s since %s", inEffect, status.Digest, status.Since)
	}
	if c, ok := p.history.Get(status.Generation); status.InSync && (!ok || c.Outcome != history.OutcomeApplied) {
		return errors.New("in sync, and the outcome is " + c.Outcome)
	}
	return nil
}
