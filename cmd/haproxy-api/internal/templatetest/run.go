package templatetest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/templates"
)

// Now is the time of every rendering in a test, so that the function now returns the same each time.
var Now = time.Date(2024, time.January, 2, 15, 4, 5, 0, time.UTC)

// A Runner runs golden cases.
type Runner struct {
	Templates   templates.Config
	Source      string       // the name of the snapshots' source
	FixTemplate bool         // the cases cannot replace the main template
	Update      bool         // write what is rendered as the expected output
	Notes       io.Writer    // receives notes about the states
	Report      func(Result) // is called after each case
}

// A Result is the result of one case.
type Result struct {
	Case   string   `json:"case"`
	Passed bool     `json:"passed"`
	Wrote  []string `json:"wrote,omitempty"` // the files that were updated
	Error  string   `json:"error,omitempty"`
	Diff   string   `json:"diff,omitempty"` // a unified diff from what the case wants to what is rendered
}

// A Summary has the results of all cases.
type Summary struct {
	Passed int      `json:"passed"`
	Failed int      `json:"failed"`
	Cases  []Result `json:"cases"`
}

// Run runs every case in dir. The error means that there is no case, or that ctx was done early.
func (r *Runner) Run(ctx context.Context, dir string) (Summary, error) {
	var summary Summary
	cases, err := findCases(dir)
	if err != nil {
		return summary, err
	}
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return summary, fmt.Errorf("stopped after %d of %d cases: %w", len(summary.Cases), len(cases), err)
		}
		result := r.runCase(ctx, c)
		if result.Passed {
			summary.Passed++
		} else {
			summary.Failed++
		}
		summary.Cases = append(summary.Cases, result)
		r.Report(result)
	}
	return summary, nil
}

func (r *Runner) runCase(ctx context.Context, c goldenCase) Result {
	result := Result{Case: c.name}
	differences, err := r.compare(ctx, c)
	if err == nil && r.Update {
		result.Wrote, err = acceptAll(differences)
		differences = nil
	}
	if err != nil {
		result.Error = engine.Detail(err)
	}
	for _, d := range differences {
		result.Diff += string(unifiedDiff(d.want, d.got))
	}
	result.Passed = err == nil && len(differences) == 0
	return result
}

// Print writes the result of a case that failed or was updated. It writes nothing for any other one.
func (r Result) Print(out io.Writer) {
	colors := terminal.PaletteFor(out)
	for _, path := range r.Wrote {
		fmt.Fprintln(out, "wrote", path)
	}
	switch {
	case r.Passed:
	case r.Error != "":
		fmt.Fprintf(out, "%s %s: %s\n", colors.Failure("FAIL"), r.Case, r.Error)
	default:
		fmt.Fprintf(out, "%s %s\n%s", colors.Failure("FAIL"), r.Case, colors.Diff([]byte(r.Diff)))
	}
}

// compare renders the case and returns the differences to what it wants. The error is about the case itself, or about a rendering
// that failed unexpectedly.
func (r *Runner) compare(ctx context.Context, c goldenCase) ([]difference, error) {
	set, err := c.configure(r.Templates, r.FixTemplate)
	if err != nil {
		return nil, err
	}
	state, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	state.PrintQuarantined(r.Notes)
	files, _, renderErr := Render(ctx, set, state.As(r.Source), Now)
	wanted, err := readFile(c.path(wantError), "wanted")
	switch {
	case err != nil:
		return nil, err
	case wanted.missing && renderErr != nil:
		return nil, renderErr
	case wanted.missing:
		return c.compareFiles(files)
	case c.hasOne(wantMain) || c.hasOne(wantDirectory):
		return nil, fmt.Errorf("the case wants both an error and files: remove %s, or the others", wantError)
	case renderErr == nil:
		return nil, fmt.Errorf("rendering succeeds, but %s wants it to fail: remove the file or correct the template", wantError)
	}
	return compareError(wanted, renderErr), nil
}

// acceptAll writes what was rendered as the expected output, and returns the paths of the files.
func acceptAll(differences []difference) (wrote []string, err error) {
	for _, d := range differences {
		if err := d.accept(); err != nil {
			return wrote, err
		}
		wrote = append(wrote, d.want.path)
	}
	return wrote, nil
}

// findCases returns the cases in dir, sorted. A directory that has wanted files and no state is also a case, which fails.
func findCases(dir string) ([]goldenCase, error) {
	var cases []goldenCase
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if filepath.Base(name) == wantDirectory {
			return fs.SkipDir
		}
		c := goldenCase{root: dir, name: filepath.ToSlash(name)}
		if c.hasOne("state.*") || c.hasOne("want.*") || c.hasOne(wantDirectory) {
			cases = append(cases, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for cases in %s: %w", dir, replace.Cause(err))
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("there is no case in %s: a case is a directory with a state.json and the expected rendering in "+
			"want.cfg; see 'haproxy-api template test --help'", dir)
	}
	return cases, nil
}

func (c goldenCase) hasOne(pattern string) bool {
	found, _ := filepath.Glob(filepath.Join(globEscaper.Replace(c.directory()), pattern))
	return len(found) > 0
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
