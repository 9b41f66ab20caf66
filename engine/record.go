package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/engine/history"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// record adds c to the pipeline's history, or updates the entry with its generation. It may be called from any goroutine.
func (p *pipeline) record(c history.Change, diff string) { p.recordAt(time.Now(), c, diff) }

// recordAt is record for what happened at that time.
func (p *pipeline) recordAt(at time.Time, c history.Change, diff string) {
	c.Updated = at
	c.Seconds = max(0, c.Updated.Sub(c.Received).Seconds())
	p.history.Put(c, diff)
	p.observer.Changed(p.name, c)
}

// recordAttempt records that the sink was passed the document of r, and with which outcome. A document that the sink gets for the
// first time has an entry with its generation. Later attempts update that entry until the document is applied. Once it is,
// another attempt makes an entry of its own if the sink did something, or says that it has a document that it had lost.
//
// It sets the trigger of a, and when it arrived, to those of the first attempt.
func (p *pipeline) recordAttempt(a *Attempt, r *rendered) {
	c, retried := p.unfinished(r.document.Generation)
	diff := ""
	switch {
	case r.isNew:
		c = history.Change{Generation: r.document.Generation, Trigger: a.Trigger, Received: a.Received}
		diff = p.compare(&c, r)
		r.isNew = false
	case retried:
		a.Trigger, a.Received = c.Trigger, c.Received
	case a.Err == nil && a.Result.Action == sdk.ActionUnchanged && !p.wasLost(r.document.Generation):
		return
	default:
		c = history.Change{Generation: p.history.Next(), Trigger: a.Trigger, Received: a.Received}
	}
	c.Document, c.Digest = r.document.Generation, r.document.Digest
	c.Attempts++
	c.Notes, c.Excluded = texts(a.Notes), exclusionTexts(r.excluded)
	p.recordOutcomeOf(&c, a, "apply")
	p.record(c, diff)
}

// compare sets the fields of c that say how the document of r, and what it was rendered from, differ from what is in effect. It
// returns the diff. There is none if it is not known what is in effect.
func (p *pipeline) compare(c *history.Change, r *rendered) string {
	before, ok := p.inEffect()
	if !ok {
		return ""
	}
	if before.snapshot.Services != nil || before.document.Digest == "" {
		c.Instances, c.InstancesMore = history.Instances(before.snapshot.Services, r.snapshot.Services)
		for i, line := range c.Instances {
			c.Instances[i] = OneLine(Masked(line))
		}
	}
	diff := history.DiffDocuments(withoutPrivateKeys(before.document), withoutPrivateKeys(r.document))
	c.LinesAdded, c.LinesRemoved, c.DiffTruncated = diff.Added, diff.Removed, diff.Truncated
	return text(diff.Text)
}

// inEffect returns the document that is in effect, as far as it is known; it is empty if there has never been one. It returns
// false if the document is not known.
func (p *pipeline) inEffect() (rendered, bool) {
	s := &p.state
	if s.applied != nil {
		return *s.applied, true
	}
	if doc, ok := p.history.DocumentOf(s.status.Generation); ok {
		return rendered{document: doc}, true
	}
	return rendered{}, p.history.LastChange() == nil && p.history.InEffect() == nil
}

// inEffectSince returns since when the document with that digest, which the sink has, is in effect.
func (p *pipeline) inEffectSince(digest string) time.Time {
	if c := p.history.InEffect(); c != nil && c.Digest == digest {
		return c.Updated
	}
	if s := p.state.status; s.Digest == digest {
		return s.Since
	}
	return time.Now()
}

// newestDocument returns the entry of the newest document.
func (p *pipeline) newestDocument() (history.Change, bool) {
	return p.history.Find(func(c *history.Change) bool { return c.Generation == c.Document })
}

// recordOutcomeOf sets the fields of c that say what the sink did in the attempt a. call is the name of the step if the sink
// does not report steps.
func (p *pipeline) recordOutcomeOf(c *history.Change, a *Attempt, call string) {
	c.Outcome, c.Error = outcomeOf(a.Err), ""
	if a.Err != nil {
		c.Error = text(a.Err.Error())
	}
	c.Action, c.Reason = history.KnownAction(a.Result.Action), text(a.Result.Reason)
	c.Details = texts(a.Result.Details)
	c.Commands, c.CommandsMore = commands(a.Result.Commands)
	c.Steps = stepsOf(a, call)
}

// stepsOf returns the steps of the attempt a: waiting, rendering, and those of the sink.
func stepsOf(a *Attempt, call string) []history.Step {
	passed := a.Started.Sub(a.Received)
	steps := []history.Step{step("wait", 0, passed)}
	if r := a.rendered; !r.began.IsZero() {
		began := r.began.Sub(a.Received)
		steps = []history.Step{step("wait", 0, began), step("render", began, r.took)}
	}
	for _, s := range a.Result.Steps {
		steps = append(steps, step(text(s.Name), passed+s.Start, s.Took))
	}
	if len(a.Result.Steps) == 0 {
		steps = append(steps, step(call, passed, a.Took))
	}
	return steps
}

func step(name string, start, took time.Duration) history.Step {
	return history.Step{Name: name, Start: max(0, start.Seconds()), Seconds: max(0, took.Seconds())}
}

// recordReread records that the sink reread files, and with which outcome. Attempts that follow one that failed or was deferred
// update its entry.
func (p *pipeline) recordReread(a *Attempt) {
	i := &p.state.inputs
	c, retried := p.history.Get(i.entry)
	switch {
	case retried:
		a.Trigger, a.Received = c.Trigger, c.Received
	default:
		c = history.Change{Generation: p.history.Next(), Trigger: a.Trigger, Received: a.Received}
	}
	c.Document, c.Digest = a.Generation, a.Digest
	c.Attempts++
	p.recordOutcomeOf(&c, a, "reread")
	i.entry = c.Generation
	if a.Err == nil {
		i.entry = 0
	}
	p.record(c, "")
}

// recordLost records that the sink no longer has the document of r.
func (p *pipeline) recordLost(r *rendered, lost sdk.Lost) {
	c := history.Change{
		Generation: p.history.Next(), Document: r.document.Generation, Digest: r.document.Digest,
		Trigger: p.state.cause.Trigger, Received: p.state.cause.at, Event: sdk.EventReverted, Outcome: history.OutcomeLost,
		Details: texts(lost.Details),
	}
	c.Commands, c.CommandsMore = commands(lost.Commands)
	if lost.Err != nil {
		c.Error = text(lost.Err.Error())
	}
	p.record(c, "")
}

// recordEvents records the events of the sink until ctx is done.
func (p *pipeline) recordEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-p.events:
			p.recordEvent(e)
		}
	}
}

// maxEventAge is how long before its arrival an event may have happened. The clock of a plugin that says something else is not
// used.
const maxEventAge = 24 * time.Hour

// recordEvent records an event of the sink. One that is the same as the newest entry updates it.
func (p *pipeline) recordEvent(e sdk.Event) {
	if e.Kind == sdk.EventReverted && p.lost != nil {
		return // see recordLost
	}
	now := time.Now()
	if age := now.Sub(e.Time); age < 0 || age > maxEventAge {
		e.Time = now
	}
	applied := p.published.Load()
	c := history.Change{
		Document: cmp.Or(e.Generation, applied.Generation), Trigger: history.Trigger{Kind: history.TriggerSink},
		Event: history.KnownEvent(e.Kind), Outcome: history.OutcomeEvent, Reason: text(e.Reason), Received: e.Time,
		Details: texts(e.Details),
	}
	c.Commands, c.CommandsMore = commands(e.Commands)
	if c.Document == applied.Generation {
		c.Digest = applied.Digest
	}
	newest, _ := p.history.Find(func(*history.Change) bool { return true })
	if newest.Event == c.Event && newest.Outcome == c.Outcome && newest.Reason == c.Reason && newest.Document == c.Document {
		c.Generation, c.Received, c.Attempts = newest.Generation, newest.Received, newest.Attempts
	} else {
		c.Generation = p.history.Next()
	}
	c.Attempts++
	p.recordAt(e.Time, c, "")
}

// unfinished returns the entry that the next attempt with that document updates, and false if there is none.
func (p *pipeline) unfinished(document uint64) (history.Change, bool) {
	c, ok := p.history.Find(func(c *history.Change) bool {
		return c.Document == document && c.Generation != p.state.inputs.entry && c.Event == ""
	})
	switch c.Outcome {
	case history.OutcomeApplied:
		return history.Change{}, false
	case history.OutcomeDeferred, history.OutcomeFailed:
		return c, ok
	}
	return c, ok && c.Generation == document // not an entry about rereading files, or about applying the document again
}

// wasLost reports whether the history says that the sink lost that document, and not that it was applied again since.
func (p *pipeline) wasLost(document uint64) bool {
	c, _ := p.history.Find(func(c *history.Change) bool {
		return c.Document == document && c.Outcome != history.OutcomeEvent
	})
	return c.Outcome == history.OutcomeLost
}

// supersedeReread ends the entry of the attempts to reread files, if there is one: the next attempt has another reason.
func (p *pipeline) supersedeReread() {
	entry := p.state.inputs.entry
	p.state.inputs.entry = 0
	p.supersedeAll(func(c *history.Change) bool { return c.Generation == entry })
}

// supersedeAgain ends the entries of an earlier run about rereading files and about applying a document again.
func (p *pipeline) supersedeAgain() {
	p.supersedeAll(func(c *history.Change) bool { return c.Generation != c.Document })
}

// supersedeOthers records that no attempt follows with any document but the pending and the newest one, nor with that if it is in
// effect. What is in effect may be the same as before: a template that failed may have been edited back.
func (p *pipeline) supersedeOthers() {
	s := &p.state
	p.supersedeAll(func(c *history.Change) bool {
		switch {
		case c.Generation == s.inputs.entry, s.pending != nil && c.Document == s.pending.document.Generation:
			return false
		}
		return c.Document != s.generation || s.isSettled()
	})
}

// supersedeAll records that no attempt follows for those of the selected entries that wait for one.
func (p *pipeline) supersedeAll(selects func(*history.Change) bool) {
	for {
		c, ok := p.history.Find(func(c *history.Change) bool {
			return (c.Outcome == history.OutcomeDeferred || c.Outcome == history.OutcomeFailed) && selects(c)
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

// commands returns the first commands, and how many more there are.
func commands(all []sdk.Command) (first []history.Command, more int) {
	for _, c := range all[:min(len(all), history.MaxCommands)] { // masking tens of thousands would take long
		first = append(first, history.Command{Sent: text(c.Sent), Answer: text(c.Answer)})
	}
	return first, len(all) - len(first)
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
	if more := len(all) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}
