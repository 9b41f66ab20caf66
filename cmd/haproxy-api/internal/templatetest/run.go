package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

// goldenNow is the time of every rendering in a test, so that what now makes of it holds.
var goldenNow = time.Date(2024, time.January, 2, 15, 4, 5, 0, time.UTC)

func newTemplateTest(opts *options) *cobra.Command {
	var template, pipeline string
	var update bool
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Render golden cases and compare them with what they want",
		Long: "test renders every case in DIR, which is every folder in it, or DIR itself, that has a state:\n\n" +
			"  state.json    the state, or state.yaml: in any form that render takes\n" +
			"  vars.toml     vars over those of the configuration; or .yaml, .json; may be left out\n" +
			"  template      a line with the path of the template, from this folder; may be left out, or be in a folder above\n" +
			"  want.cfg      what the main file has to be\n" +
			"  want/NAME     what each companion file has to be\n" +
			"  want.error    instead of these: words that the error of a rendering that has to fail must have in it\n\n" +
			"The template is the one of --template, or else the case's own, or else the configuration's; partials, companions\n" +
			"and all other values are the configuration's. now is always " + goldenNow.Format(time.DateTime) + " UTC.\n\n" +
			"--update (-update does as well) writes want.cfg and want/ as they are rendered; a rendering that fails it takes\n" +
			"for wanted only where there is a want.error, be it an empty one. Exit code: 0 all pass, 1 something fails.",
		Example: "  haproxy-api template test --template templates/haproxy.cfg templates/cases\n" +
			"  haproxy-api -f haproxy-api.toml template test cases --update",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("name the one folder of cases: %s DIR", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := opts.load()
			if err != nil {
				return err
			}
			p, err := pickTemplates(cfg, pipeline, template)
			if err != nil {
				return err
			}
			t := &goldenTest{cmd: cmd, out: cmd.OutOrStdout(), pipeline: p, fixed: template != "", update: update}
			return t.run(args[0])
		},
	}
	cmd.Flags().StringVar(&template, "template", "", "a template `FILE` instead of the cases' and the configured one")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "the pipeline whose template it is, where there are several")
	cmd.Flags().BoolVar(&update, "update", false, "write what is rendered as what is wanted")
	return cmd
}

// goldenTest runs cases.
type goldenTest struct {
	cmd      *cobra.Command
	out      io.Writer
	pipeline config.Pipeline
	fixed    bool // the template is not the cases' to choose
	update   bool

	passed, failed int
}

func (t *goldenTest) run(dir string) error {
	cases, err := findCases(dir)
	if err != nil {
		return err
	}
	for _, c := range cases {
		if err := t.cmd.Context().Err(); err != nil {
			return fmt.Errorf("stopped after %d of %d cases: %w", t.passed+t.failed, len(cases), err)
		}
		t.try(c)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed\n", t.passed, t.failed)
	if t.failed > 0 {
		return errSaid
	}
	return nil
}

// try runs one case and tells of it, unless it simply passes.
func (t *goldenTest) try(c goldenCase) {
	colors := paletteFor(t.out)
	differences, err := c.try(t.cmd, t.pipeline, t.fixed)
	if err == nil && t.update {
		err = t.write(differences)
		differences = nil
	}
	if err == nil && len(differences) == 0 {
		t.passed++
		return
	}
	t.failed++
	fmt.Fprintf(t.out, "%s %s", colors.bad("FAIL"), c.name)
	if err != nil {
		fmt.Fprintf(t.out, ": %s\n", engine.Detail(err))
		return
	}
	fmt.Fprintln(t.out)
	for _, d := range differences {
		fmt.Fprintf(t.out, "%s", colors.diff(unified(d.want, d.got)))
	}
}

// write makes what was rendered what is wanted.
func (t *goldenTest) write(differences []difference) error {
	for _, d := range differences {
		if err := d.accept(); err != nil {
			return err
		}
		fmt.Fprintln(t.out, "wrote", d.want.path)
	}
	return nil
}

// findCases returns the cases in dir, sorted. A folder that wants something and has no state is one too: it fails, and is not
// passed over.
func findCases(dir string) ([]goldenCase, error) {
	var cases []goldenCase
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if filepath.Base(name) == wantFolder {
			return fs.SkipDir
		}
		c := goldenCase{root: dir, name: filepath.ToSlash(name)}
		if c.hasOne("state.*") || c.hasOne("want.*") || c.hasOne(wantFolder) {
			cases = append(cases, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for cases in %s: %w", dir, bare(err))
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("there is no case in %s: a case is a folder with a state.json and what it renders to in "+
			"want.cfg; see 'haproxy-api template test --help'", dir)
	}
	return cases, nil
}

// bare leaves out the path that a file error repeats.
func bare(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}

func (c goldenCase) hasOne(pattern string) bool {
	found, _ := filepath.Glob(filepath.Join(escapeGlob(c.folder()), pattern))
	return len(found) > 0
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(path string) string { return globEscaper.Replace(path) }
