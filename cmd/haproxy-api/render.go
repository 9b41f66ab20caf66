package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func newRender(opts *options) *cobra.Command {
	var state, template, output, pipeline string
	cmd := &cobra.Command{
		Use:   "render --state FILE|URL|-",
		Short: "Render a state once, touching no proxy",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state == "" {
				return &usageError{fmt.Errorf("there is nothing to render: name a state with --state FILE, URL or -")}
			}
			cfg, err := opts.load()
			if err != nil {
				return err
			}
			p, err := pickPipeline(cfg, pipeline)
			if err != nil {
				return err
			}
			if template != "" {
				p.Template = template
			}
			snap, err := readState(cmd.Context(), state, cmd.InOrStdin())
			if err != nil {
				return err
			}
			files, err := renderOnce(cmd, p, snap)
			if err != nil {
				return err
			}
			if output != "" {
				return renameio.WriteFile(output, files[0].Content, 0o644)
			}
			_, err = cmd.OutOrStdout().Write(files[0].Content)
			return err
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "a Sidecar state or a list of instances: `FILE`, URL or - for standard input")
	cmd.Flags().StringVar(&template, "template", "", "a template `FILE` instead of the configured one")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "the pipeline whose template it is, where there are several")
	return cmd
}

// renderOnce renders snap, and shows on standard error what the template noted.
func renderOnce(cmd *cobra.Command, p config.Pipeline, snap sdk.Snapshot) ([]sdk.File, error) {
	template, err := newTemplates(p).Load()
	if err != nil {
		return nil, err
	}
	files, notes, err := template.Render(cmd.Context(), snap)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", note)
	}
	return files, nil
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
