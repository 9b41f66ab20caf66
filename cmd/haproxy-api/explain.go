package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/display"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

type explainOptions struct {
	pipeline     string
	generation   uint64 // 0 for the newest change
	reload, full bool
}

func newExplain(opts *options) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:        "explain [NUMBER]",
		SuggestFor: []string{"why"},
		Short:      "Explain a change: what triggered it, what was done, and why not less",
		Long: "explain shows the newest change of a pipeline, or the one with the number that history and the log give: what\n" +
			"triggered it, which instances changed, what the sink did and why a smaller action was not enough, how long each\n" +
			"step took, and the difference of the documents. Secrets in it are masked.",
		Example: "  haproxy-api explain             # the newest change\n" +
			"  haproxy-api explain --reload    # why HAProxy was reloaded the last time\n" +
			"  haproxy-api explain 42 --full",
		ValidArgsFunction: opts.completeChange,
		Args:              oneArg(true, "name one change by its number, or none for the newest one"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 {
				if o.generation, err = parseGeneration(args[0]); err != nil {
					return err
				}
			}
			return runExplain(cmd, opts, o)
		},
	}
	cmd.Flags().StringVar(&o.pipeline, "pipeline", "", "the pipeline with this `NAME`, if there are several")
	cmd.Flags().BoolVar(&o.reload, "reload", false, "explain the last reload or start of the sink's program")
	cmd.Flags().BoolVar(&o.full, "full", false, "show all commands and the whole difference")
	return opts.withOutput(opts.withAddress(cmd))
}

func parseGeneration(arg string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(arg, "#"), 10, 64)
	if err != nil || n == 0 {
		return 0, &usageError{fmt.Errorf("%q is not the number of a change: 'haproxy-api history' lists them", arg)}
	}
	return n, nil
}

func runExplain(cmd *cobra.Command, opts *options, o explainOptions) error {
	if o.reload && o.generation != 0 {
		return &usageError{fmt.Errorf("use either --reload or the number %d", o.generation)}
	}
	client, err := opts.client()
	if err != nil {
		return err
	}
	change, err := queryWithNote(cmd, client, func(ctx context.Context, client apiclient.Client) (display.Change, error) {
		return findChange(ctx, client, o)
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if opts.json() {
		return printJSON(out, change)
	}
	page := terminal.NewPage(out)
	display.Explain(page, change, o.full, time.Now())
	_, err = page.WriteTo(out)
	return err
}

// findChange returns the change that the options select, with its diff.
func findChange(ctx context.Context, client apiclient.Client, o explainOptions) (display.Change, error) {
	p, err := findPipeline(ctx, client, o.pipeline)
	if err != nil {
		return display.Change{}, err
	}
	found := display.Change{Pipeline: p.Name}
	switch {
	case o.generation != 0:
	case o.reload && p.LastReload == nil:
		return found, fmt.Errorf("pipeline %s has not been reloaded since haproxy-api keeps its history", p.Name)
	case o.reload:
		found.Change = *p.LastReload
		o.generation = p.LastReload.Generation
	default:
		newest, ok, err := client.NewestChange(ctx, p.Name)
		if err != nil {
			return found, err
		}
		if !ok {
			return found, fmt.Errorf("pipeline %s has no changes yet: see 'haproxy-api status'", p.Name)
		}
		o.generation = newest.Generation
		found.Now = p.Reasons
	}
	change, err := client.Change(ctx, p.Name, o.generation)
	if o.reload && apiclient.IsGone(err) { // its summary outlives it
		return found, nil
	}
	if err != nil {
		return found, err
	}
	found.Change = change
	found.Diff, err = client.Diff(ctx, p.Name, o.generation)
	return found, err
}

// findPipeline returns the pipeline with that name, or the only one if name is empty.
func findPipeline(ctx context.Context, client apiclient.Client, name string) (server.Pipeline, error) {
	pipelines, err := client.Pipelines(ctx)
	if err != nil {
		return server.Pipeline{}, err
	}
	var names []string
	for _, p := range pipelines {
		if p.Name == name || name == "" && len(pipelines) == 1 {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if name == "" {
		return server.Pipeline{}, &usageError{fmt.Errorf("there are several pipelines: name one of %s with --pipeline",
			strings.Join(names, ", "))}
	}
	return server.Pipeline{}, &usageError{fmt.Errorf("there is no pipeline %q: name one of %s with --pipeline", name,
		strings.Join(names, ", "))}
}
