package exclude

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A SourceMapper is a template that knows where the lines of a document come from.
type SourceMapper interface {
	// SourceMap renders snap and returns for each file of the document the origin of every line: one more than the file has
	// newlines. It may be much slower than rendering.
	SourceMap(ctx context.Context, snap sdk.Snapshot) ([][]Origin, error)
}

// An Origin is the line of a template that rendered a line of a document, and the service and instance that it belongs to.
type Origin struct {
	Template string        // the template's path, as configured; empty for none
	Line     int           // of the template, from 1
	Service  string        // empty for none
	Instance *sdk.Instance // of that service; nil for none
}

// Explain adds the origins of the rejected lines to the text of err, if err is a rejection of files, which the template rendered
// from snap. The origins are not known unless the template is a [SourceMapper]. Explain returns any other error unchanged. The
// result wraps err.
func Explain(ctx context.Context, template any, snap sdk.Snapshot, files []sdk.File, err error) error {
	r, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(r.Positions) == 0 {
		return err
	}
	mapper, _ := template.(SourceMapper)
	return explain(newSourceMap(ctx, mapper, snap, files), r, err)
}

func explain(lines sourceMap, r *sdk.Rejection, err error) error {
	explained := &sdk.Rejection{Err: r.Err, Positions: make([]sdk.Position, len(r.Positions))}
	var first Origin
	for i, p := range r.Positions {
		origin := lines.at(p)
		explained.Positions[i].Problem = fault{p, origin}.String()
		if first.Template == "" {
			first = origin
		}
	}
	text := &explainedError{err, strings.Replace(err.Error(), r.Error(), explained.Error(), 1)}
	if first.Template == "" {
		return text
	}
	return &locatedError{text, first}
}

// An explainedError is an error with another text.
type explainedError struct {
	err  error
	text string
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.err }

// A locatedError is an explainedError with the origin of the first rejected line whose origin is known.
type locatedError struct {
	*explainedError
	origin Origin
}

// Position returns where in a template the line was rendered. The column is not known.
func (e *locatedError) Position() (file string, line, column int) {
	return e.origin.Template, e.origin.Line, 0
}

// A fault is a rejected position with its origin.
type fault struct {
	sdk.Position
	origin Origin
}

func faultsOf(r *sdk.Rejection, lines sourceMap) []fault {
	var faults []fault
	for _, position := range r.Positions {
		faults = append(faults, fault{position, lines.at(position)})
	}
	return faults
}

// String returns FILE:LINE (TEMPLATE:LINE, SERVICE, INSTANCE): PROBLEM, without the parts that are not known.
func (f fault) String() string {
	if f.Line == 0 {
		return f.Problem
	}
	var from []string
	if o := f.origin; o.Template != "" {
		from = append(from, fmt.Sprintf("%s:%d", o.Template, o.Line))
	}
	if f.origin.Service != "" {
		from = append(from, fmt.Sprintf("service %q", f.origin.Service))
	}
	if i := f.origin.Instance; i != nil {
		from = append(from, fmt.Sprintf("instance %q on %s", i.ID, i.Hostname))
	}
	if len(from) == 0 {
		return fmt.Sprintf("%s: %s", f.Position, f.Problem)
	}
	return fmt.Sprintf("%s (%s): %s", f.Position, strings.Join(from, ", "), f.Problem)
}

// reason is String without the service and the instance, which an [Exclusion] has in fields of their own.
func (f fault) reason() string {
	return fmt.Sprintf("%s (%s:%d): %s", f.Position, f.origin.Template, f.origin.Line, f.Problem)
}

// A sourceMap has the origins of a document's lines, by file.
type sourceMap map[string][]Origin

// newSourceMap returns the source map of files, which were rendered from snap. It omits a file if the mapper counts other
// lines: a nondeterministic template may have rendered something else this time. The mapper may be nil.
func newSourceMap(ctx context.Context, mapper SourceMapper, snap sdk.Snapshot, files []sdk.File) sourceMap {
	if mapper == nil {
		return nil
	}
	origins, err := mapper.SourceMap(ctx, snap)
	if err != nil || len(origins) != len(files) {
		return nil
	}
	lines := sourceMap{}
	for i, f := range files {
		if bytes.Count(f.Content, []byte("\n"))+1 == len(origins[i]) {
			lines[f.Name] = origins[i]
		}
	}
	return lines
}

// at returns the zero Origin if the origin of p is not known.
func (m sourceMap) at(p sdk.Position) Origin {
	lines := m[p.File]
	if p.Line < 1 || p.Line > len(lines) {
		return Origin{}
	}
	return lines[p.Line-1]
}
