package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/templatetest"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

func newTemplate(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Test templates, and list the functions that they can call",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTemplateTest(opts), newTemplateFunctions(opts))
	return cmd
}

func newTemplateTest(opts *options) *cobra.Command {
	var selected templateFlags
	var update bool
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Render golden cases and compare the results with the expected ones",
		Long: "test renders every case in DIR. A case is DIR itself, or a directory in it, that has a state:\n\n" +
			"  state.json    the state, or state.yaml: in any form that render reads\n" +
			"  vars.toml     vars that override those of the configuration; or .yaml, .json; optional\n" +
			"  template      a line with the path of the template, relative to this directory; also in a parent\n" +
			"                directory; optional\n" +
			"  want.cfg      the expected main file\n" +
			"  want/NAME     the expected companion files\n" +
			"  want.error    instead of these: words that the error must contain if rendering is expected to fail\n\n" +
			"The template is the one of --template, or else the case's own, or else the configuration's. Partials,\n" +
			"companions and all other values are the configuration's. now is always\n" +
			templatetest.Now.Format(time.DateTime) + " UTC.\n\n" +
			"--update (or -update) writes want.cfg and want/ as rendered. It accepts a rendering that fails only if\n" +
			"want.error exists, which may be empty. Exit code: 0 all pass, 1 a case fails.",
		Example: "  haproxy-api template test --template templates/haproxy.cfg templates/cases\n" +
			"  haproxy-api -f haproxy-api.toml template test cases --update",
		ValidArgsFunction: completeDirectory,
		Args:              oneArg(false, "name the one directory of cases"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := opts.loadWithNote(cmd)
			if err != nil {
				return err
			}
			p, err := selected.selectFrom(cfg)
			if err != nil {
				return err
			}
			runner := &templatetest.Runner{
				Templates: daemon.TemplateConfig(p), Source: p.Source, FixTemplate: selected.template != "", Update: update,
			}
			return runTemplateTest(cmd, runner, args[0], opts.json())
		},
	}
	selected.register(cmd)
	cmd.Flags().BoolVar(&update, "update", false, "write what is rendered as the expected output")
	return opts.withOutput(cmd)
}

// runTemplateTest runs the cases in dir and prints their results. It returns errReported if one of them fails.
func runTemplateTest(cmd *cobra.Command, runner *templatetest.Runner, dir string, inJSON bool) error {
	out := cmd.OutOrStdout()
	progress := terminal.NewProgress(cmd.ErrOrStderr())
	defer progress.Close()
	rendered := 0
	runner.Notes = progress.Over(cmd.ErrOrStderr())
	runner.Report = func(r templatetest.Result) {
		rendered++
		if !inJSON {
			progress.Hide()
			r.Print(out)
		}
		progress.Show(fmt.Sprintf("%d cases rendered", rendered))
	}
	summary, err := runner.Run(cmd.Context(), dir)
	progress.Close()
	if err != nil {
		return err
	}
	if inJSON {
		err = printJSON(out, summary)
	} else {
		_, err = fmt.Fprintf(out, "%d passed, %d failed\n", summary.Passed, summary.Failed)
	}
	if err == nil && summary.Failed > 0 {
		return errReported
	}
	return err
}

// templateFlags select a template set: that of a pipeline, with another main template if one is given.
type templateFlags struct{ pipeline, template string }

func (f *templateFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.template, "template", "", "use the template in `FILE` instead of the configured one")
	cmd.Flags().StringVar(&f.pipeline, "pipeline", "",
		"use the template of the pipeline with this `NAME`, if there are several")
}

// selectFrom returns the selected pipeline, which is the only one if none is named.
func (f *templateFlags) selectFrom(cfg *config.Config) (config.Pipeline, error) {
	names := slices.Sorted(maps.Keys(cfg.Pipelines))
	name := f.pipeline
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	p, ok := cfg.Pipelines[name]
	if !ok {
		return p, &usageError{
			fmt.Errorf("there is no pipeline %q: name one of %s with --pipeline", name, strings.Join(names, ", ")),
		}
	}
	if f.template != "" {
		p.Template = f.template
	}
	return p, nil
}

// goSpelling replaces -update after "template test" by --update. Go's golden file tests spell the flag with one dash, which pflag
// reads as six flags of one letter.
func goSpelling(args []string) []string {
	at := slices.Index(args, "test")
	if at < 1 || args[at-1] != "template" {
		return args
	}
	spelled := slices.Clone(args)
	for i, arg := range spelled[at:] {
		if arg == "--" {
			break
		}
		if arg == "-update" {
			spelled[at+i] = "--update"
		}
	}
	return spelled
}
