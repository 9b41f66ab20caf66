package engine

import (
	"errors"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// record adds c to the pipeline's history, or updates the entry with its generation. It may be called from any goroutine.
func (p *pipeline) record(c history.Change, diff string) {
	c.Updated = time.Now()
	c.Seconds = max(0, c.Updated.Sub(c.Received).Seconds())
	p.history.Put(c, diff)
	p.observer.Changed(p.name, c)
}

// recordAttempt records that the sink was passed the document of r, and with which outcome. A document that the sink gets for the
// first time has an entry with its generation. Later attempts update that entry until the document is applied. Once it is,
// another attempt makes an entry of its own if the sink did something.
//
// It sets the trigger of e, and when it arrived, to those of the first attempt.
func (p *pipeline) recordAttempt(e *Entry, r *rendered) {
	c, retried := p.unfinished(r.document.Generation)
	switch {
	case r.isNew:
		p.supersede(r.document.Generation)
		c = history.Change{Generation: r.document.Generation, Trigger: e.Trigger, Received: e.Received}
		r.isNew = false
	case retried:
		e.Trigger, e.Received = c.Trigger, c.Received
	case e.Err == nil && e.Result.Action == sdk.ActionUnchanged:
		return
	default:
		c = history.Change{Generation: p.history.Next(), Trigger: e.Trigger, Received: e.Received}
	}
	c.Document, c.Digest = r.document.Generation, r.document.Digest
	c.Attempts++
	c.Notes, c.Excluded = texts(e.Notes), exclusionTexts(r.excluded)
	p.recordOutcomeOf(&c, e)
	p.record(c, "")
}

// recordOutcomeOf sets the fields of c that say what the sink did in the attempt e.
func (p *pipeline) recordOutcomeOf(c *history.Change, e *Entry) {
	c.Outcome, c.Error = outcomeOf(e.Err), ""
	if e.Err != nil {
		c.Error = text(e.Err.Error())
	}
	c.Action, c.Reason = history.KnownAction(e.Result.Action), text(e.Result.Reason)
	c.Details, c.Commands = texts(e.Result.Details), nil
	for _, command := range e.Result.Commands {
		c.Commands = append(c.Commands, history.Command{Sent: text(command.Sent), Answer: text(command.Answer)})
	}
	c.Steps = stepsOf(e)
}

// stepsOf returns the steps of the attempt e: waiting, rendering, and those of the sink.
func stepsOf(e *Entry) []history.Step {
	begin := e.Started
	var rendering []history.Step
	if r := e.rendered; !r.began.IsZero() {
		begin = r.began
		rendering = []history.Step{step("render", r.began.Sub(e.Received), r.took)}
	}
	steps := append([]history.Step{step("wait", 0, begin.Sub(e.Received))}, rendering...)
	passed := e.Started.Sub(e.Received)
	for _, s := range e.Result.Steps {
		steps = append(steps, step(text(s.Name), passed+s.Start, s.Took))
	}
	if len(e.Result.Steps) == 0 {
		steps = append(steps, step("apply", passed, e.Took))
	}
	return steps
}

func step(name string, start, took time.Duration) history.Step {
	return history.Step{Name: name, Start: max(0, start.Seconds()), Seconds: max(0, took.Seconds())}
}

// recordReread records that the sink reread files, and with which outcome. Attempts that follow one that failed or was deferred
// update its entry.
func (p *pipeline) recordReread(e *Entry) {
	i := &p.state.inputs
	c, retried := p.history.Get(i.entry)
	switch {
	case retried:
		e.Trigger, e.Received = c.Trigger, c.Received
	default:
		c = history.Change{Generation: p.history.Next(), Trigger: e.Trigger, Received: e.Received}
	}
	c.Document, c.Digest = e.Generation, e.Digest
	c.Attempts++
	p.recordOutcomeOf(&c, e)
	i.entry = c.Generation
	if e.Err == nil {
		i.entry = 0
	}
	p.record(c, "")
}

// recordLost records that the sink no longer has the document of r.
func (p *pipeline) recordLost(r *rendered, lost sdk.Lost) {
	p.record(history.Change{
		Generation: p.history.Next(), Document: r.document.Generation, Digest: r.document.Digest,
		Trigger: p.state.cause.Trigger, Received: p.state.cause.at, Event: sdk.EventReverted, Outcome: history.OutcomeLost,
		Error: text(lost.Err.Error()),
	}, "")
}

// unfinished returns the entry that the next attempt with that document updates, and false if there is none.
func (p *pipeline) unfinished(document uint64) (history.Change, bool) {
	c, ok := p.history.Find(func(c *history.Change) bool {
		return c.Document == document && c.Generation != p.state.inputs.entry && c.Event == ""
	})
	switch c.Outcome {
	case history.OutcomeApplied:
		return history.Change{}, false
	case history.OutcomeSuperseded:
		return c, ok && c.Generation == document
	}
	return c, ok
}

// supersede records that no attempt follows with the documents before that generation that wait for one.
func (p *pipeline) supersede(generation uint64) {
	for {
		c, ok := p.history.Find(func(c *history.Change) bool {
			return c.Generation < generation && c.Generation != p.state.inputs.entry &&
				(c.Outcome == history.OutcomeDeferred || c.Outcome == history.OutcomeFailed)
		})
		if !ok {
			return
		}
		c.Outcome = history.OutcomeSuperseded
		p.record(c, "")
	}
}

// outcomeOf returns the outcome of an attempt with that error.
func outcomeOf(err error) string {
	_, superseded := errors.AsType[*supersededError](err)
	switch {
	case err == nil:
		return history.OutcomeApplied
	case superseded:
		return history.OutcomeSuperseded
	case errors.Is(err, sdk.ErrDeferred):
		return history.OutcomeDeferred
	case isNotLoaded(err):
		return history.OutcomeNotLoaded
	case exclude.IsRejected(err):
		return history.OutcomeRejected
	}
	return history.OutcomeFailed
}

// text returns what the history keeps of a text that did not come from the daemon itself.
func text(s string) string { return Printable(Masked(s)) }

func texts(all []string) []string {
	var out []string
	for _, s := range all {
		out = append(out, text(s))
	}
	return out
}

func exclusionTexts(all []exclude.Exclusion) []string {
	var out []string
	for _, e := range firstExclusions(all) {
		name := e.Service
		if !e.WholeService() {
			name += " " + e.Hostname + " " + e.ID
		}
		out = append(out, OneLine(name)+": "+text(e.Reason))
	}
	return out
}
