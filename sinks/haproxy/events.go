package haproxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/messages"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy/internal/process"
)

// Events of one kind are all reported as long as they are few. What happens again and again, such as the end of a HAProxy that
// crashes soon after each start, is reported less and less often, so that it does not push everything else out of the history.
const (
	eventBurst      = 5 // events of a kind that are reported without a pause
	eventPause      = time.Minute
	maxEventPause   = 6 * time.Hour
	eventQuietAfter = 30 * time.Minute // without an event of the kind, the next one is the first one again
)

// events reports what happens to HAProxy to the daemon. It is safe for concurrent use.
type events struct {
	report func(sdk.Event) // nil for none

	mu    sync.Mutex
	kinds map[string]*repetition
}

// A repetition counts the events of one kind.
type repetition struct {
	reported     int       // since the kind was quiet
	lastReported time.Time // when the last one was reported
	last         time.Time // when the last one happened
	leftOut      int       // how many were not reported since then
}

// add reports e, unless too many events of its kind were reported lately. It says how many were left out before.
func (e *events) add(event sdk.Event) {
	if e.report == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reportLeftOut(event.Kind)
	r := e.kinds[event.Kind]
	if r == nil {
		r = &repetition{}
		if e.kinds == nil {
			e.kinds = map[string]*repetition{}
		}
		e.kinds[event.Kind] = r
	}
	event.Time = time.Now()
	r.last = event.Time
	if event.Time.Sub(r.lastReported) < r.pause() {
		r.leftOut++
		return
	}
	if r.leftOut > 0 {
		event.Reason += fmt.Sprintf(" (%d more since %s are not listed)", r.leftOut, r.lastReported.Format(time.DateTime))
	}
	r.reported, r.lastReported, r.leftOut = r.reported+1, event.Time, 0
	e.report(event)
}

// pause returns how long after the last reported event the next one is reported.
func (r *repetition) pause() time.Duration {
	if r.reported < eventBurst {
		return 0
	}
	pause := eventPause
	for range r.reported - eventBurst {
		if pause *= 2; pause >= maxEventPause {
			return maxEventPause
		}
	}
	return pause
}

// finish reports how many events were left out of each kind that has been quiet for a while, so that the history has the last
// one.
func (e *events) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reportLeftOut("")
}

// reportLeftOut is finish with e.mu held. An event of the kind next follows, which says how many were left out before, unless the
// kind has been quiet for long.
func (e *events) reportLeftOut(next string) {
	for kind, r := range e.kinds {
		quiet := time.Since(r.last)
		isLong := quiet >= eventQuietAfter
		if !isLong && (kind == next || quiet < eventPause || time.Since(r.lastReported) < r.pause()) {
			continue
		}
		if r.leftOut > 0 {
			e.report(sdk.Event{Kind: kind, Time: r.last, Reason: fmt.Sprintf("%d more between %s and %s are not listed",
				r.leftOut, r.lastReported.Format(time.DateTime), r.last.Format(time.DateTime))})
			r.reported, r.lastReported, r.leftOut = r.reported+1, time.Now(), 0
		}
		if isLong {
			delete(e.kinds, kind)
		}
	}
}

// OnEvent sets the function to call when HAProxy crashes, is restarted, reloaded or changed by another program, and when the sink
// undoes such a change.
func (s *Sink) OnEvent(report func(sdk.Event)) { s.events.report = report }

// shownLogLines is how many of the last lines that HAProxy logged an event has.
const shownLogLines = 20

func lastLines(log []string) []string { return log[max(0, len(log)-shownLogLines):] }

// reportCrash reports that the HAProxy that ran has ended, once. The caller holds s.change.
func (s *Sink) reportCrash() {
	st := s.state.Load()
	if st.running.None() || st.running.Alive() || !st.endedAt.IsZero() {
		return
	}
	s.update((*state).end)
	log := s.controller.Log()
	why := "it logged no reason, as when it is killed"
	if ends := messages.Ends(log); len(ends) > 0 {
		why = messages.Quote(ends)
	}
	s.events.add(sdk.Event{
		Kind: sdk.EventCrashed, Generation: generationOf(st.desired), Details: lastLines(log),
		Reason: fmt.Sprintf("%s ended after it had served for %v: %s",
			describe(st.running), time.Since(st.since).Round(100*time.Millisecond), why),
	})
}

// texts returns what was sent, for the log.
func texts(commands []sdk.Command) []string {
	sent := make([]string, len(commands))
	for i, command := range commands {
		sent[i] = command.Sent
	}
	return sent
}

// describe names the processes of an instance.
func describe(i process.Instance) string {
	switch {
	case i.Worker != 0:
		return fmt.Sprintf("HAProxy (worker %d of process %s)", i.Worker, process.JoinPids(i.Pids))
	case len(i.Pids) > 0:
		return "HAProxy (process " + process.JoinPids(i.Pids) + ")"
	default:
		return "HAProxy"
	}
}

// reportLoad reports that the supervisor made HAProxy load the desired document again for the given reason. reload says that
// HAProxy ran. The caller holds s.change.
func (s *supervisor) reportLoad(reload bool, reason string, r sdk.Result, loaded process.LoadResult, err error) {
	event := sdk.Event{Generation: generationOf(s.state.Load().desired), Commands: r.Commands, Details: lastLines(loaded.Log)}
	took := r.Took.Round(time.Millisecond)
	switch {
	case err != nil:
		event.Kind, event.Details = sdk.EventLoadFailed, lastLines(process.LogOf(err))
		event.Reason = fmt.Sprintf("%v (attempt %d, %s, failed after %v; the next one follows in %v)",
			err, s.attempts, reason, took, s.untilNextLoad().Round(100*time.Millisecond))
	case reload:
		event.Kind = sdk.EventReloaded
		event.Reason = fmt.Sprintf("%s has loaded its configuration again in %v, %s", describe(loaded.Instance), took, reason)
	default:
		event.Kind = sdk.EventRestarted
		event.Reason = fmt.Sprintf("%s was started in %v at attempt %d, %s", describe(loaded.Instance), took, s.attempts, reason)
	}
	s.events.add(event)
}

// reportRestored reports that HAProxy has loaded doc again, which was in effect before a configuration that failed. The caller
// holds s.change.
func (s *Sink) reportRestored(doc *document, loaded process.LoadResult) {
	kind, did := sdk.EventReloaded, "has loaded the previous configuration again"
	if loaded.Action == sdk.ActionRestart {
		kind, did = sdk.EventRestarted, "was started with the previous configuration"
	}
	s.events.add(sdk.Event{
		Kind: kind, Generation: generationOf(doc), Details: lastLines(loaded.Log),
		Reason: describe(loaded.Instance) + " " + did + ", because the next one failed",
	})
}

// reportDrift reports that the sink has undone what another program had changed. The caller holds s.change.
func (s *Sink) reportDrift(event sdk.Event) {
	st := s.state.Load()
	s.update(func(st *state) { st.driftRepairs++ })
	event.Kind, event.Generation = sdk.EventDriftRepaired, generationOf(st.desired)
	s.events.add(event)
}

// reportFile reports that a file that another program had changed was restored. The caller holds s.change.
func (s *Sink) reportFile(path string) {
	s.reportDrift(sdk.Event{Reason: "another program had changed the file " + path + ", and it was restored"})
}

var _ sdk.EventReporter = (*Sink)(nil)
