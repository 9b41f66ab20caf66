package exclude

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

const (
	// maxRounds bounds the renders of one document, each of which excludes more.
	maxRounds = 8
	// A sink may stop reading a document at a fault, so that it has not checked the lines that follow. After excludeServicesAfter
	// rejections in one pass, the unchecked instances of services with faults are excluded too; after excludeAllAfter, all
	// unchecked instances.
	excludeServicesAfter, excludeAllAfter = 3, 6
	// maxRejections bounds the documents applied in one pass; the next pass follows after continueAfter.
	maxRejections = 9
	// continueAfter is the time until the next pass, which also tries unchecked owners again.
	continueAfter = time.Second
	// minRetryDelay bounds how soon a rejected line is tried again.
	minRetryDelay = 10 * time.Millisecond
)

// A Pass renders and applies one snapshot with one version of a template, and finds out what to exclude. All functions
// are called from the goroutine that calls the methods.
type Pass struct {
	Index *Index // of the snapshot

	// Render renders snap, which is the snapshot without the excluded services and instances. An error with a method
	// Owner() (service string, instance *sdk.Instance) names the owner of a failed iteration; one with Failures() []error has
	// several of those.
	Render func(ctx context.Context, snap sdk.Snapshot) (doc sdk.Document, notes []string, err error)

	// Apply applies or checks the document of r. It may modify r.Document. [Pass.Explain] adds to a rejection what it is about.
	Apply func(ctx context.Context, r *Rendering) error

	SourceMapper SourceMapper // the template; nil if it maps no lines, so that rejected lines have no owner

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

	lines *sourceMap // nil before [Pass.sourceMap] was called
}

// RenderExcluding renders the snapshot without excluded and without the owners of failing iterations and the losers of conflicts.
func (p *Pass) RenderExcluding(ctx context.Context, excluded Set) (*Rendering, error) {
	return p.renderUntil(ctx, excluded, p.resolveConflicts)
}

// renderUntil renders the snapshot without excluded until accept returns no error. Each round also excludes
// the owners of failing iterations, or what accept returns with its error. If excluding more does not help, renderUntil returns
// the error of the last round.
func (p *Pass) renderUntil(
	ctx context.Context, excluded Set, accept func(context.Context, *Rendering) (next Set, _ error),
) (*Rendering, error) {
	for round := 1; ; round++ {
		doc, notes, err := p.Render(ctx, excluded.Filter(p.Index.snapshot))
		r := &Rendering{Document: doc, Notes: notes, Excluded: excluded}
		var next Set
		if err != nil {
			next = excluded.withFailures(p.Index, err)
		} else if next, err = accept(ctx, r); err == nil {
			return r, nil
		}
		if next == nil || round == maxRounds || !p.MayExclude(next, false) {
			return nil, err
		}
		excluded = next
	}
}

// ExcludeRejected renders and applies the document without the owners of the lines that the sink rejects, until the sink applies
// the rest. err is the rejection with which applying r failed.
//
// It returns the document that was applied last and the error of that. If the error is a rejection, nothing was applied. A
// non-nil next means that the attempts for this pass are used up; it is what the next pass excludes, at the time in the
// [sdk.RetryError].
func (p *Pass) ExcludeRejected(ctx context.Context, r *Rendering, err error) (last *Rendering, next Set, _ error) {
	var first error
	for rejections := 1; IsRejected(err); rejections++ {
		widened := p.afterRejection(ctx, r, err, rejections)
		if first == nil {
			first = err
		}
		joined := join(first, err)
		switch {
		case widened == nil:
			return r, nil, joined
		case rejections == maxRejections:
			return r, widened, sdk.RetryAfter(joined, continueAfter)
		}
		rendered, renderErr := p.RenderExcluding(ctx, widened)
		if renderErr != nil { // the template needs what would be excluded
			return r, nil, joined
		}
		r = rendered
		err = p.Apply(ctx, r)
	}
	return r, nil, err
}

// Explain adds the origins of the rejected lines to the text of err, if err is a rejection of the document of r. It returns any
// other error unchanged. The result wraps err.
func (p *Pass) Explain(ctx context.Context, r *Rendering, err error) error {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) == 0 {
		return err
	}
	return explain(p.sourceMap(ctx, r), rejection, err)
}

// afterRejection returns what to exclude after r was rejected with err, or nil if excluding more does not help. An instance that
// is live is not excluded for a fault that may be over soon.
func (p *Pass) afterRejection(ctx context.Context, r *Rendering, err error, rejections int) Set {
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) == 0 {
		return nil
	}
	lines := p.sourceMap(ctx, r)
	var retryAt time.Time
	if hint, ok := errors.AsType[*sdk.RetryError](err); ok {
		retryAt = time.Now().Add(max(hint.After, minRetryDelay))
	}
	faults := faultsOf(rejection, lines)
	next := r.Excluded.withRejected(p.Index, faults, lines, retryAt)
	if next == nil {
		return nil
	}
	if rejections >= excludeServicesAfter {
		next = next.withUnchecked(p.Index, faults, lines, p.Applied, rejections >= excludeAllAfter)
	}
	if rejection.Temporary && p.Applied.containsAny(next) || !p.MayExclude(next, !retryAt.IsZero()) {
		return nil
	}
	return next
}

// Check renders the snapshot and checks the document with Apply. Unlike the other methods it ignores conflicts. It excludes the
// owners of failing iterations and of rejected lines. It returns the error of the last attempt.
func (p *Pass) Check(ctx context.Context) error {
	_, err := p.renderUntil(ctx, nil, p.applyOnce)
	return err
}

// applyOnce applies r. If that is rejected, it returns what to exclude before the next attempt, or nil if excluding more does not
// help.
func (p *Pass) applyOnce(ctx context.Context, r *Rendering) (Set, error) {
	err := p.Apply(ctx, r)
	rejection, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(rejection.Positions) == 0 {
		return nil, err
	}
	lines := p.sourceMap(ctx, r)
	return r.Excluded.withRejected(p.Index, faultsOf(rejection, lines), lines, time.Time{}), err
}

// sourceMap returns the source map of the document of r.
func (p *Pass) sourceMap(ctx context.Context, r *Rendering) sourceMap {
	if r.lines == nil {
		lines := newSourceMap(ctx, p.SourceMapper, r.Excluded.Filter(p.Index.snapshot), r.Document.Files)
		r.lines = &lines
	}
	return *r.lines
}

// join combines the first and the last rejection. The result is final only if last is.
func join(first, last error) error {
	switch {
	case first == last: //nolint:errorlint // the very same
		return last
	case IsFinal(last):
		return fmt.Errorf("%w; after excluding those: %w", first, last)
	default:
		return fmt.Errorf("%v; after excluding those: %w", first, last) //nolint:errorlint // first may be final
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
