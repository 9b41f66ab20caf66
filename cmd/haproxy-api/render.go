package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/internal/replace"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/templates"
)

type renderOptions struct {
	state, template, output, pipeline string
	watch                             bool
}

func newRender(opts *options) *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render --state FILE|URL|-",
		Short: "Render a state, touching no proxy",
		Long: "render prints what a state renders to. With --watch it goes on until Ctrl-C: whenever a file of the template\n" +
			"set is saved it renders again, and prints the difference to the rendering before, of companion files too. A\n" +
			"mistake is told on standard error, and so is when it is mended. The state and the configuration are read once,\n" +
			"so that every difference is the template's.",
		Example: "  haproxy-api render --state http://sidecar:7777/state.json\n" +
			"  haproxy-api render --state state.json --template haproxy.cfg --watch   # beside an editor",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRender(cmd, opts, o) },
	}
	cmd.Flags().StringVar(&o.state, "state", "", "a Sidecar state or a list of instances: `FILE`, URL or - for standard input")
	cmd.Flags().StringVar(&o.template, "template", "", "a template `FILE` instead of the configured one")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().StringVar(&o.pipeline, "pipeline", "", "the pipeline whose template it is, where there are several")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "render again whenever a template is saved, and show what that changes")
	return cmd
}

func runRender(cmd *cobra.Command, opts *options, o renderOptions) error {
	if o.state == "" {
		return &usageError{errors.New("there is nothing to render: name a state with --state FILE, URL or -")}
	}
	cfg, err := opts.load()
	if err != nil {
		return err
	}
	p, err := pickTemplates(cfg, o.pipeline, o.template)
	if err != nil {
		return err
	}
	state, err := readState(cmd.Context(), o.state, cmd.InOrStdin())
	if err != nil {
		return err
	}
	state.tell(cmd)
	snap := state.as(p.Source)
	if o.watch {
		return watchRender(cmd, o, p, snap)
	}
	files, notes, err := renderAt(cmd.Context(), p, snap, time.Now())
	if err != nil {
		return err
	}
	showNotes(cmd, notes)
	return o.write(cmd.OutOrStdout(), files)
}

// write writes the main file to where the person wants it. What is no regular file, such as /dev/stdout, is not replaced.
func (o renderOptions) write(stdout io.Writer, files []sdk.File) error {
	if o.output == "" {
		_, err := stdout.Write(files[0].Content)
		return err
	}
	if info, err := os.Stat(o.output); err != nil || info.Mode().IsRegular() {
		return replace.Write(o.output, files[0].Content, replace.Options{})
	}
	f, err := os.OpenFile(o.output, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(files[0].Content)
	return errors.Join(err, f.Close())
}

// renderAt renders snap with the pipeline's templates as they are now, which are told that it is that time.
func renderAt(ctx context.Context, p config.Pipeline, snap sdk.Snapshot, at time.Time) (
	files []sdk.File, notes []string, err error,
) {
	set := templateConfig(p)
	set.Now = func() time.Time { return at }
	template, err := templates.New(set).Load()
	if err != nil {
		return nil, nil, err
	}
	return template.Render(ctx, snap)
}

// showNotes shows what a template noted about the state.
func showNotes(cmd *cobra.Command, notes []string) {
	for _, note := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", engine.OneLine(note))
	}
}

// pickTemplates returns the pipeline as pickPipeline does, with another template if that is not empty.
func pickTemplates(cfg *config.Config, name, template string) (config.Pipeline, error) {
	p, err := pickPipeline(cfg, name)
	if template != "" {
		p.Template = template
	}
	return p, err
}

// pickPipeline returns the named pipeline, or the only one where none is named.
func pickPipeline(cfg *config.Config, name string) (config.Pipeline, error) {
	names := sortedKeys(cfg.Pipelines)
	if name == "" && len(names) == 1 {
		name = names[0]
	}
	if !slices.Contains(names, name) {
		return config.Pipeline{}, &usageError{
			fmt.Errorf("there is no pipeline %q: name one of %s with --pipeline", name, strings.Join(names, ", ")),
		}
	}
	return cfg.Pipelines[name], nil
}
