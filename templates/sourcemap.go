package templates

import (
	"context"
	"strconv"
	"text/template"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// An Origin is where a line of a document comes from: Template and Line are the position of the template's node that wrote it,
// Service and Instance are what it is about. Template is empty for a line on which nothing is visible, Service is empty and
// Instance is nil for none.
type Origin = sourcemap.Origin

// A TracedFile is a rendered file with the origin of each line, also of the empty one after the last newline.
type TracedFile struct {
	sdk.File
	Origins []Origin
}

// Trace renders like Render and returns the origin of every line. It takes several times as long. The error is an [*Error].
func (t *Template) Trace(ctx context.Context, snap sdk.Snapshot) ([]TracedFile, error) {
	sources := map[string]sourcemap.Source{}
	for _, src := range t.sources {
		sources[src.name] = sourcemap.Source{Path: src.path, Text: src.text}
	}
	set, v := t.instrumented(), newView(snap, nil)
	x := t.newExecution(set)
	defer x.begin(ctx, v)()
	x.recorder = sourcemap.NewRecorder(sourcemap.InstrumentNodes(set, sources))
	files, err := x.files()
	if err != nil {
		return nil, t.explain(ctx, v, err)
	}
	var traced []TracedFile
	for i, f := range files {
		traced = append(traced, TracedFile{f, x.recorder.Files()[i]})
	}
	return traced, nil
}

// explain returns an [*Error] with the positions and the owners of all failing iterations. It renders again, with templates that
// record both and attempt every iteration, since that makes a rendering slower.
func (t *Template) explain(ctx context.Context, v *view, failure error) *Error {
	if ctx.Err() != nil {
		return t.locate(v, failure, "")
	}
	set := t.instrumented()
	attemptIterations(set)
	x := t.newExecution(set)
	defer x.begin(ctx, v)()
	var first *Error
	x.failed = func(err error) {
		e := t.locate(v, err, describeOwner(x.recorder.Owner()))
		e.Service, e.Instance = x.recorder.Owner()
		switch {
		case first == nil:
			first = e
		case e.Service != "":
			first.Further = append(first.Further, e)
		}
	}
	if _, err := x.files(); err != nil {
		x.failed(err)
	}
	if first == nil { // a nondeterministic template may fail only sometimes
		return t.locate(v, failure, "")
	}
	return first
}

// describeOwner names a service or one of its instances for people. It returns "" for none.
func describeOwner(service string, inst *sdk.Instance) string {
	switch {
	case inst != nil:
		return describe(*inst)
	case service != "":
		return "service " + strconv.Quote(service)
	}
	return ""
}

// instrumented returns the templates of t, compiled again and instrumented. They compiled before, so there is no error.
func (t *Template) instrumented() *template.Template {
	set, _ := compile(t.cfg, t.sources)
	sourcemap.InstrumentRanges(set)
	return set
}
