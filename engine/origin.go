package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

// A Tracer is a [Template] that can tell where the lines of a document come from.
type Tracer interface {
	Template
	// Trace renders like Render. For each file it returns the origin of every line: one more than the file has line ends. It
	// may be much slower.
	Trace(ctx context.Context, snap sdk.Snapshot) ([][]Origin, error)
}

// An Origin is where a line of a document comes from, and whom it is about.
type Origin struct {
	Template string        // the template's path, as configured; empty where there is none
	Line     int           // of the template, from 1
	Service  string        // empty for none
	Instance *sdk.Instance // of that service; nil for none
}

// Explain puts what a sink rejects into words that name the line of the template and whom it is about, beside the line of
// files, which is what t rendered from snap. Any other error comes back as it is. The result wraps err.
func Explain(ctx context.Context, t Template, snap sdk.Snapshot, files []sdk.File, err error) error {
	r, ok := errors.AsType[*sdk.Rejection](err)
	if !ok || len(r.Places) == 0 {
		return err
	}
	return explain(traceOf(ctx, t, snap, files), r, err)
}

func explain(lines trace, r *sdk.Rejection, err error) error {
	words := r.Tell(func(p sdk.Place) string { return fault{p, lines.at(p)}.String() })
	return &explained{err, strings.Replace(err.Error(), r.Error(), words, 1)}
}

// explained is an error in other words.
type explained struct {
	err  error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// A fault is a place with its origin.
type fault struct {
	sdk.Place
	origin Origin
}

func faultsAt(r *sdk.Rejection, lines trace) []fault {
	var faults []fault
	for _, place := range r.Places {
		faults = append(faults, fault{place, lines.at(place)})
	}
	return faults
}

// String returns FILE:LINE (TEMPLATE:LINE, WHOM): PROBLEM, without what is not known.
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
		return fmt.Sprintf("%s: %s", f.Place, f.Problem)
	}
	return fmt.Sprintf("%s (%s): %s", f.Place, strings.Join(from, ", "), f.Problem)
}

// A trace has the origins of a document's lines, by file.
type trace map[string][]Origin

// traceOf returns nothing for a file of which the trace has other lines: a template with the time or with chance in it may
// render something else the second time.
func traceOf(ctx context.Context, t Template, snap sdk.Snapshot, files []sdk.File) trace {
	tracer, ok := t.(Tracer)
	if !ok {
		return nil
	}
	origins, err := tracer.Trace(ctx, snap)
	if err != nil || len(origins) != len(files) {
		return nil
	}
	lines := trace{}
	for i, f := range files {
		if bytes.Count(f.Content, []byte("\n"))+1 == len(origins[i]) {
			lines[f.Name] = origins[i]
		}
	}
	return lines
}

// at returns the zero Origin where none is known.
func (t trace) at(p sdk.Place) Origin {
	lines := t[p.File]
	if p.Line < 1 || p.Line > len(lines) {
		return Origin{}
	}
	return lines[p.Line-1]
}
