package templates

import (
	"context"
	"text/template"

	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates/internal/sourcemap"
)

// An Origin is where a line of a document comes from: Template and Line are the position of the template's node that wrote it,
// Service and Instance are what it is about. Template is empty for a line on which nothing is visible, Service is empty and
// Instance is nil for none.
type Origin = sourcemap.Origin

// SourceMap renders like [Template.Render] and returns, for each file, the origin of every line, also of the empty one after the
// last newline. It takes several times as long as Render. The error is an [*Error].
func (t *Template) SourceMap(ctx context.Context, snap sdk.Snapshot) (files []sdk.File, origins [][]Origin, err error) {
	sources := map[string]sourcemap.Source{}
	for _, src := range t.sources {
		sources[src.name] = sourcemap.Source{Path: src.path, Text: src.text}
	}
	set, s := t.instrumented(), newServices(snap, nil)
	x := t.newExecution(set)
	defer x.begin(ctx, s)()
	x.recorder = sourcemap.NewRecorder(sourcemap.InstrumentNodes(set, sources))
	if files, err = x.files(); err != nil {
		return nil, nil, t.explain(ctx, s, err)
	}
	return files, x.recorder.Files(), nil
}

// instrumented returns the templates of t, compiled again and instrumented. They compiled before, so there is no error.
func (t *Template) instrumented() *template.Template {
	set, _ := compile(t.cfg, t.sources)
	sourcemap.InstrumentRanges(set)
	return set
}
