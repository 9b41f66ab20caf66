package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

func newCheck(opts *options) *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, templates and, with --state, what they render to",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			faults := check(cmd, opts, state)
			if len(faults) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "no faults")
				return err
			}
			for _, fault := range faults {
				fmt.Fprintln(cmd.ErrOrStderr(), engine.Detail(fault))
			}
			return errSaid
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "also render this state and let the sink check it: `FILE`, URL or -")
	return cmd
}

// check looks at everything that can be looked at without changing anything, and returns all that is wrong.
func check(cmd *cobra.Command, opts *options, state string) []error {
	cfg, err := opts.load()
	if err != nil {
		return []error{err}
	}
	ctx, log := cmd.Context(), slog.New(slog.DiscardHandler)
	var faults []error
	open := opener{cfg: cfg, log: log}
	sources, err := open.sources(ctx)
	if err != nil {
		faults = append(faults, err)
	}
	defer closeAll(sources)
	sinks, err := open.sinks(ctx)
	if err != nil {
		faults = append(faults, err)
	}
	defer closeAll(sinks)
	var snap *sdk.Snapshot
	if state != "" {
		read, err := readState(ctx, state, cmd.InOrStdin())
		if err != nil {
			faults = append(faults, err)
		} else {
			snap = &read
		}
	}
	for _, name := range sortedKeys(cfg.Pipelines) {
		p := cfg.Pipelines[name]
		if err := checkPipeline(ctx, name, p, sinks[p.Sink], snap); err != nil {
			faults = append(faults, fmt.Errorf("pipeline %s: %w", name, err))
		}
	}
	return faults
}

// checkPipeline compiles the templates and, given a snapshot, renders it and asks the sink. sink may be nil.
func checkPipeline(ctx context.Context, name string, p config.Pipeline, sink sdk.Sink, snap *sdk.Snapshot) error {
	template, err := newTemplates(p).Load()
	if err != nil || snap == nil {
		return err
	}
	files, _, err := template.Render(ctx, *snap)
	if err != nil {
		return err
	}
	checker, ok := sink.(sdk.Checker)
	if !ok {
		return nil
	}
	err = checker.Check(ctx, sdk.Document{Pipeline: name, Digest: sdk.DigestOf(files), Files: files})
	err = engine.Explain(ctx, template, *snap, files, err)
	if errors.Is(err, sdk.ErrRejected) {
		return fmt.Errorf("the sink rejects what was rendered: %w", err)
	}
	return err
}
