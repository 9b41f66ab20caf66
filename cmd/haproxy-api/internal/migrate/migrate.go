// Package migrate finds what behaves differently from haproxy-api 0.9 with a configuration file and its templates, and what newer
// versions of HAProxy reject in the templates. It starts nothing and needs no HAProxy.
package migrate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

// A Severity says what a finding means for the migration.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // haproxy-api or a version of HAProxy rejects it
	Changed Severity = "changed" // it works, and does something else than in 0.9
	Note    Severity = "note"    // it works as in 0.9, and there is something to know
)

// A Finding is one difference.
type Finding struct {
	File     string   `json:"file"` // or "environment NAME"
	Line     int      `json:"line,omitempty"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Change   string   `json:"change"` // what to do about it

	name string // findings at one place with the same name are about the same
}

// Place returns the file, and the line if there is one.
func (f Finding) Place() string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// Find returns the findings for a configuration file and the environment, and for the templates that the file names, in the order
// of their places. With states it also renders the templates. The only error is that of a done ctx.
func Find(ctx context.Context, file string, environ []string, all []states.State) ([]Finding, error) {
	content, _ := os.ReadFile(file) // Load reports the error
	cfg, err := config.Load(config.Options{File: file, Named: true, Environ: environ, Paths: daemon.ComponentPaths})
	findings := configFindings(file, content, err)
	for _, p := range pipelines(cfg, file) {
		t := templateFinder{template: daemon.TemplateConfig(p), pipeline: p, file: file}
		if err := t.find(ctx, all); err != nil {
			return nil, err
		}
		findings = append(findings, t.found...)
	}
	return distinct(file, findings), nil
}

// pipelines returns the pipelines whose sink is HAProxy. If the configuration is not valid, it returns one for what can be read
// of a configuration of 0.9.
func pipelines(cfg *config.Config, file string) []config.Pipeline {
	if cfg == nil {
		table, _ := config.ReadTable(file)
		haproxy, _ := table["haproxy"].(map[string]any)
		template, ok := haproxy["template"].(string)
		if !ok {
			return nil
		}
		return []config.Pipeline{{Template: existing(template, file)}}
	}
	var all []config.Pipeline
	for _, name := range slices.Sorted(maps.Keys(cfg.Pipelines)) {
		if p := cfg.Pipelines[name]; cfg.Sinks[p.Sink].Type == "haproxy" {
			all = append(all, p)
		}
	}
	return all
}

// existing returns the path relative to the directory of the configuration file, if it leads to a file only there, as
// [config.Load] does for a valid configuration.
func existing(path, file string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	beside := filepath.Join(filepath.Dir(file), path)
	if _, err := os.Stat(path); err != nil {
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return path
}

// distinct returns the findings sorted by place, and of those at one place with the same name the first one.
func distinct(file string, findings []Finding) []Finding {
	type key struct {
		file, name string
		line       int
	}
	seen := map[key]bool{}
	result := []Finding{}
	for _, f := range findings {
		k := key{f.File, cmp.Or(f.name, f.What), f.Line}
		if !seen[k] {
			result = append(result, f)
		}
		seen[k] = true
	}
	order := map[string]int{file: 0} // the configuration first, then as they were found
	for _, f := range result {
		if _, ok := order[f.File]; !ok {
			order[f.File] = len(order)
		}
	}
	slices.SortStableFunc(result, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return result
}
