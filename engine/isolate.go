package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// maxRounds bounds how often a document is rendered in a row because another iteration of the template fails or another two
	// owners claim one thing.
	maxRounds = 8
	// doubtAfter is after how many rejections in a row the rest of a service that has faults is held back, and doubtAllAfter
	// is the same for everything that the sink may not have read. Sinks read a document from the start and stop at some fault.
	doubtAfter, doubtAllAfter = 3, 6
	// maxRejections bounds how many documents are offered in a row.
	maxRejections = 9
	// continueAfter is when the next ones are, and what was held back is tried.
	continueAfter = time.Second
	// failureRecheck is when an iteration that failed is tried again: it may depend on more than its owner.
	failureRecheck = time.Minute
)

// renderExcluding renders without left and, where an iteration fails or where two owners claim one thing, without those as well.
func (p *pipeline) renderExcluding(ctx context.Context, v *version, in *snapshotIndex, left culprits) (*rendering, error) {
	for round := 1; ; round++ {
		r, err := p.render(ctx, v, in.snapshot, left)
		var more culprits
		var ok bool
		if err != nil {
			more, ok = left.failed(in, err)
		} else if more, err = p.yielding(ctx, r, in); err == nil {
			return r, nil
		} else {
			ok = true
		}
		if !ok || round == maxRounds || !p.mayExclude(v, in, more) {
			return nil, err
		}
		left = more
	}
}

// failed returns c with those whose iterations failed, and false where that is no way out.
func (c culprits) failed(in *snapshotIndex, err error) (culprits, bool) {
	failures := []error{err}
	if all, ok := errors.AsType[interface {
		error
		Failures() []error
	}](err); ok {
		failures = all.Failures()
	}
	next := c.copied()
	grown := false
	for _, failure := range failures {
		if endless(failure) { // it says nothing of the owner, and rendering without that one may take as long
			return nil, false
		}
		owned, ok := errors.AsType[interface {
			error
			Owner() (service string, instance *sdk.Instance)
		}](failure)
		if !ok {
			return nil, false
		}
		service, instance := owned.Owner()
		who := ownerOf(Origin{Service: service, Instance: instance})
		looked, known := in.portrait(who)
		if !known {
			return nil, false
		}
		if !next.cover(who) {
			next.add(who, charge{looked: looked, reason: failure.Error(), until: time.Now().Add(failureRecheck)})
			grown = true
		}
	}
	return next, grown && next.leaves(in.snapshot)
}

// mayExclude reports whether v may leave them out. A candidate may leave out only whom the active version leaves out as well: all
// others are live with that one, so it must be the candidate's own fault. The first version of a run, which may have been edited
// while the daemon was down, must not leave out more of what an earlier run had in effect than the source may lose.
func (p *pipeline) mayExclude(v *version, in *snapshotIndex, all culprits) bool {
	switch {
	case p.active == v:
		return true
	case p.active != nil:
		known := p.active.culprits.still(in)
		return !all.any(func(who owner, _ charge) bool { return !known.cover(who) })
	case p.accepted != nil:
		had, has := p.accepted.survivors(in, all)
		return !p.source.lacksTooMuch(had, has)
	}
	return true
}

// isolate leaves out those for whom the sink rejects r until the sink takes the rest. entry and err are what became of r. It
// returns what was offered last and what became of it; an error that is a rejection means that there is no way out, or that more
// tries than now are needed.
func (p *pipeline) isolate(
	ctx context.Context, r *rendering, in *snapshotIndex, entry *Entry, err error,
) (*rendering, *Entry, error) {
	var first error
	for rejections := 1; isRejected(err); rejections++ {
		more, ok, verdict := p.judge(ctx, r, in, err, rejections)
		if first == nil {
			first = verdict
		}
		verdict = both(first, verdict)
		if !ok {
			return r, entry, verdict
		}
		if rejections == maxRejections {
			r.version.culprits = more
			p.pace.Reset()
			return r, entry, sdk.RetryAfter(verdict, continueAfter)
		}
		next, unable := p.renderExcluding(ctx, r.version, in, more)
		if unable != nil { // the template needs what would be missing
			return r, entry, verdict
		}
		r = next
		entry, err = p.present(ctx, r)
	}
	return r, entry, err
}

// both puts the verdicts on the whole and on what was left of it into a sentence. It is final only if the last one is.
func both(first, last error) error {
	switch {
	case first == last: //nolint:errorlint // the very same
		return last
	case final(last):
		return fmt.Errorf("%w; and without that: %w", first, last)
	default:
		return fmt.Errorf("%v; and without that: %w", first, last) //nolint:errorlint // final perhaps, which last is not
	}
}

// judge puts the rejection of r into words, and returns whom to leave out instead, if that may help. What is live, and was good
// when it became so, is not taken away for a trouble that passes.
func (p *pipeline) judge(
	ctx context.Context, r *rendering, in *snapshotIndex, err error, rejections int,
) (more culprits, ok bool, verdict error) {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Places) == 0 {
		return nil, false, err
	}
	lines := traceOf(ctx, r.version.template, r.left.without(in.snapshot), r.document.Files)
	faults := faultsAt(rejection, lines)
	var until time.Time
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		until = time.Now().Add(max(hint.After, leastDeferral))
	}
	more, ok = r.left.charged(in, faults, lines, until)
	if ok && rejections >= doubtAfter {
		more = more.heldBack(in, faults, lines, p.accepted.has(), rejections >= doubtAllAfter)
	}
	if rejection.Passes && ok {
		has := p.accepted.has()
		ok = !more.any(func(who owner, ch charge) bool { return has(who, ch.looked) })
	}
	if p.active != nil || until.IsZero() { // what may be otherwise soon was not edited while the daemon was down
		ok = ok && p.mayExclude(r.version, in, more)
	}
	return more, ok, explain(lines, rejection, err)
}

// heldBack returns c with those whose lines the sink may not have read, because they are not before the last fault: of services
// that have faults, or all. What is in effect already stays.
func (c culprits) heldBack(
	in *snapshotIndex, faults []fault, lines trace, isLive func(owner, sdk.Snapshot) bool, all bool,
) culprits {
	faulty, last := map[string]bool{}, map[string]int{}
	for who := range c {
		faulty[who.service] = true
	}
	for _, f := range faults {
		last[f.File] = max(last[f.File], f.Line)
	}
	next := c.copied()
	for file, line := range last {
		for _, o := range lines[file][min(line, len(lines[file])):] {
			who := ownerOf(o)
			looked, known := in.portrait(who)
			if known && (all || faulty[who.service]) && !next.cover(who) && !isLive(who, looked) {
				next.add(who, charge{looked: looked, reason: notChecked, until: time.Now().Add(continueAfter)})
			}
		}
	}
	if !next.leaves(in.snapshot) {
		return c
	}
	return next
}

const notChecked = "there are more faults than the sink reports at a time; this one is checked soon"

// survivors counts the living instances of the snapshot that e has in whatever state, and those of them who are not left out.
func (e *effect) survivors(in *snapshotIndex, out culprits) (had, has int) {
	was := indexOf(culpritsOf(e.leftOut).without(e.snapshot))
	for _, s := range in.snapshot.Services {
		for _, i := range s.Instances {
			who := owner{s.Name, true, i.Hostname, i.ID}
			if _, known := was.portrait(who); !known || !i.IsAlive() {
				continue
			}
			had++
			if !out.cover(who) {
				has++
			}
		}
	}
	return had, has
}

// has returns whether e has an owner in it, as it looks in a snapshot of it alone.
func (e *effect) has() func(owner, sdk.Snapshot) bool {
	if e == nil {
		return func(owner, sdk.Snapshot) bool { return false }
	}
	in, out := indexOf(e.snapshot), culpritsOf(e.leftOut)
	return func(who owner, looked sdk.Snapshot) bool { return in.hasAs(who, looked) && !out.cover(who) }
}
