package daemon

import (
	"cmp"
	"context"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

// TemplateConfig returns the template set of a pipeline.
func TemplateConfig(p config.Pipeline) templates.Config {
	set := templates.Config{
		Path: p.Template, Files: p.Files, Partials: p.Partials, Vars: p.Vars,
		BindIP: p.BindIP, UseHostnames: p.UseHostnames, User: p.User, Group: p.Group,
	}
	if len(p.Delims) == len(set.Delims) {
		set.Delims = [2]string(p.Delims)
	}
	return set
}

func newTemplates(p config.Pipeline) engine.Templates {
	return templateSet{templates.New(TemplateConfig(p))}
}

// templatePaths returns the main template's path, those of the companions and the patterns of the partials.
func templatePaths(p config.Pipeline) []string {
	paths := []string{cmp.Or(p.Template, "built-in template")}
	for _, name := range sortedKeys(p.Files) {
		paths = append(paths, p.Files[name])
	}
	return append(paths, p.Partials...)
}

// templateSet adapts [templates.Set] to [engine.Templates].
type templateSet struct{ *templates.Set }

func (s templateSet) Load() (engine.Template, error) {
	t, err := s.Set.Load()
	if err != nil {
		return nil, err
	}
	return engineTemplate{t}, nil
}

// engineTemplate adapts [templates.Template] to [engine.Template] and the engine's optional interfaces.
type engineTemplate struct{ *templates.Template }

func (t engineTemplate) SourceMap(ctx context.Context, snap sdk.Snapshot) ([][]exclude.Origin, error) {
	_, origins, err := t.Template.SourceMap(ctx, snap)
	var all [][]exclude.Origin
	for _, file := range origins {
		var lines []exclude.Origin
		for _, o := range file {
			lines = append(lines, exclude.Origin(o))
		}
		all = append(all, lines)
	}
	return all, err
}

func (t engineTemplate) NondeterministicLines(ctx context.Context, snap sdk.Snapshot) ([]string, error) {
	lines, err := t.Template.NondeterministicLines(ctx, snap)
	var all []string
	for _, line := range lines {
		all = append(all, line.String())
	}
	return all, err
}

var (
	_ exclude.SourceMapper          = engineTemplate{}
	_ engine.NondeterminismReporter = engineTemplate{}
)
