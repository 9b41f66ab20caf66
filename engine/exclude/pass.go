package exclude

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// maxRounds bounds how often a document is rendered in a row because further iterations fail or further lines conflict.
	maxRounds = 8
	// After excludeServicesAfter rejections in a row, the unchecked rest of a service that has faults is excluded as well, and
	// after excludeAllAfter everything that is unchecked. Sinks read a document from the start and stop at some fault.
	excludeServicesAfter, excludeAllAfter = 3, 6
	// maxRejections bounds how many documents are applied in a row.
	maxRejections = 9
	// continueAfter is the time after which the next ones are, and after which unchecked owners are tried.
	continueAfter = time.Second
	// minRetryDelay bounds how soon a rejected line is tried again.
	minRetryDelay = 10 * time.Millisecond
)

// A Pass renders and applies one snapshot with one version of a template, and finds out what has to be excluded. All functions
// are called from the goroutine that calls the methods.
type Pass struct {
	Index *Index // of the snapshot

	// Render renders snap, which is the snapshot without the excluded services and instances. An error with a method
	// Owner() (service string, instance *sdk.Instance) names the owner of a failed iteration; one with Failures() []error has
	// several of those.
	Render func(ctx context.Context, snap sdk.Snapshot) (doc sdk.Document, notes []string, err error)

	// Apply applies or checks the document of r. It may modify r.Document.
	Apply func(ctx context.Context, r *Rendering) error

	SourceMapper SourceMapper // nil if the template is none: no rejected line has an owner then

	// Conflicts returns the conflicts between lines of a document; nil for none.
	Conflicts        func(files []sdk.File) []Conflict
	AllowedConflicts AllowedConflicts // of the template; not nil if Conflicts is not

	// MayExclude reports whether the template may be rendered without excluded. temporary is true if the reason for the latest
	// exclusions may be over soon.
	MayExclude func(excluded Set, temporary bool) bool

	Applied *Applied // the document that is live; nil for none
}

// A Rendering is a document and what it was rendered without.
type Rendering struct {
	Document sdk.Document
	Notes    []string // from the template
	Excluded Set
}

// RenderExcluding renders the snapshot without excluded and without the owners of failing iterations and the losers of conflicts.
func (p *Pass) RenderExcluding(ctx context.Context, excluded Set) (*Rendering, error) {
	for round := 1; ; round++ {
		r, next, err := p.renderOnce(ctx, excluded)
		if err == nil {
			return r, nil
		}
		if next == nil || round == maxRounds || !p.MayExclude(next, false) {
			return nil, err
		}
		excluded = next
	}
}

// renderOnce returns with an error what to exclude before the next attempt, or nil if that does not help.
func (p *Pass) renderOnce(ctx context.Context, excluded Set) (*Rendering, Set, error) {
	doc, notes, err := p.Render(ctx, excluded.Without(p.Index.snapshot))
	if err != nil {
		return nil, excluded.withFailures(p.Index, err), err
	}
	r := &Rendering{doc, notes, excluded}
	next, err := p.resolveConflicts(ctx, r)
	return r, next, err
}

// ExcludeRejected renders and applies the document without the owners of the lines that the sink rejects, until the sink applies
// the rest. err is the rejection with which applying r failed.
//
// It returns the document that was applied last and the error of that. If the error is a rejection, nothing was applied:
// excluding more does not help, or it takes more attempts than are made in a row. In the second case next is not nil: it is
// what to exclude in the next pass, which the error asks for with a [sdk.RetryError].
func (p *Pass) ExcludeRejected(ctx context.Context, r *Rendering, err error) (last *Rendering, next Set, _ error) {
	var first error
	for rejections := 1; IsRejected(err); rejections++ {
		more, explained := p.afterRejection(ctx, r, err, rejections)
		if first == nil {
			first = explained
		}
		explained = join(first, explained)
		switch {
		case more == nil:
			return r, nil, explained
		case rejections == maxRejections:
			return r, more, sdk.RetryAfter(explained, continueAfter)
		}
		rest, renderErr := p.RenderExcluding(ctx, more)
		if renderErr != nil { // the template needs what would be missing
			return r, nil, explained
		}
		r = rest
		err = p.Apply(ctx, r)
	}
	return r, nil, err
}

// afterRejection returns what to exclude after r was rejected with err, or nil if excluding more does not help, and err with the
// origins of the rejected lines. An instance that is live is not excluded for a fault that may be over soon.
func (p *Pass) afterRejection(ctx context.Context, r *Rendering, err error, rejections int) (Set, error) {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) == 0 {
		return nil, err
	}
	lines := p.sourceMap(ctx, r)
	explained := explain(lines, rejection, err)
	var retryAt time.Time
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		retryAt = time.Now().Add(max(hint.After, minRetryDelay))
	}
	faults := faultsOf(rejection, lines)
	next := r.Excluded.withRejected(p.Index, faults, lines, retryAt)
	if next == nil {
		return nil, explained
	}
	if rejections >= excludeServicesAfter {
		next = next.withUnchecked(p.Index, faults, lines, p.Applied, rejections >= excludeAllAfter)
	}
	if rejection.Temporary && p.Applied.containsAny(next) || !p.MayExclude(next, !retryAt.IsZero()) {
		return nil, explained
	}
	return next, explained
}

// Check renders the snapshot and checks the document with Apply. Unlike the other methods it ignores conflicts. It excludes the
// owners of failing iterations and of rejected lines. It returns the error of the last attempt.
func (p *Pass) Check(ctx context.Context) error {
	var excluded Set
	for round := 1; ; round++ {
		next, err := p.checkOnce(ctx, excluded)
		if err == nil || next == nil || round == maxRounds || !p.MayExclude(next, false) {
			return err
		}
		excluded = next
	}
}

func (p *Pass) checkOnce(ctx context.Context, excluded Set) (Set, error) {
	doc, notes, err := p.Render(ctx, excluded.Without(p.Index.snapshot))
	if err != nil {
		return excluded.withFailures(p.Index, err), err
	}
	r := &Rendering{doc, notes, excluded}
	err = p.Apply(ctx, r)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) == 0 {
		return nil, err
	}
	lines := p.sourceMap(ctx, r)
	return excluded.withRejected(p.Index, faultsOf(rejection, lines), lines, time.Time{}), err
}

func (p *Pass) sourceMap(ctx context.Context, r *Rendering) sourceMap {
	return newSourceMap(ctx, p.SourceMapper, r.Excluded.Without(p.Index.snapshot), r.Document.Files)
}

// join returns an error with the texts of the rejections of the whole document and of what was left of it at last. It is
// final only if the last one is.
func join(first, last error) error {
	switch {
	case first == last: //nolint:errorlint // the very same
		return last
	case IsFinal(last):
		return fmt.Errorf("%w; and without that: %w", first, last)
	default:
		return fmt.Errorf("%v; and without that: %w", first, last) //nolint:errorlint // first may be final
	}
}

// IsRejected reports whether err rejects a document, finally or for now.
func IsRejected(err error) bool {
	_, ok := errors.AsType[*sdk.Rejection](err)
	return ok || errors.Is(err, sdk.ErrRejected)
}

// IsFinal reports whether err rejects a document and does not say when to try it again.
func IsFinal(err error) bool {
	_, later := errors.AsType[*sdk.RetryError](err)
	return errors.Is(err, sdk.ErrRejected) && !later
}
