package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type diffOptions struct {
	state, template, pipeline string
	exitCode                  bool
}

func newDiff(opts *options) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [--state FILE|URL|-]",
		Short: "Show what a state or an edited template would change of what is live",
		Long: "diff compares the files that are live, which are those on disk where the sink puts them (config_file of\n" +
			"[haproxy], and companions beside it), with what the templates as they are now would make of a state. Without\n" +
			"--state that is the running daemon's newest one. It changes nothing and asks no sink: 'check' does. A companion\n" +
			"that the template set no longer has is not shown, and lines that differ only in the time at which they were\n" +
			"rendered count as the same.\n\n" +
			"Exit code: 0 whether something differs or not, since that is no failure; with --exit-code 1 if it does.",
		Example: "  haproxy-api diff                                # what is edited, or not live yet\n" +
			"  haproxy-api diff --template edited.cfg          # a copy, before it takes the template's place\n" +
			"  haproxy-api diff --state http://sidecar:7777/state.json --exit-code",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDiff(cmd, opts, o) },
	}
	cmd.Flags().StringVar(&o.state, "state", "", "what to render: `FILE`, URL or - instead of the running daemon's state")
	cmd.Flags().StringVar(&o.template, "template", "", "a template `FILE` instead of the configured one")
	cmd.Flags().StringVar(&o.pipeline, "pipeline", "", "the pipeline to compare, where there are several")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit with 1 if something differs")
	return opts.asking(cmd)
}

func runDiff(cmd *cobra.Command, opts *options, o diffOptions) error {
	cfg, err := opts.load()
	if err != nil {
		return err
	}
	p, err := pickTemplates(cfg, o.pipeline, o.template)
	if err != nil {
		return err
	}
	path, err := liveAt(cfg, p)
	if err != nil {
		return err
	}
	state, err := stateToCompare(cmd, opts, cfg, p, o.state)
	if err != nil {
		return err
	}
	state.tell(cmd)
	changes, err := compareLive(cmd, p, path, state)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "no difference: %s is what %s renders to\n", path, state.name)
		return nil
	}
	out := cmd.OutOrStdout()
	if _, err := out.Write(paletteFor(out).diff(changes)); err != nil {
		return err
	}
	if o.exitCode {
		return errSaid
	}
	return nil
}

func stateToCompare(
	cmd *cobra.Command, opts *options, cfg *config.Config, p config.Pipeline, location string,
) (namedState, error) {
	if location != "" {
		return readState(cmd.Context(), location, cmd.InOrStdin())
	}
	daemon, err := opts.daemonOf(cfg)
	if err != nil {
		return namedState{}, err
	}
	state, err := liveState(cmd.Context(), daemon, cfg)
	if err != nil {
		return state, fmt.Errorf("%w; or name a state with --state", err)
	}
	return state, state.tellsOf(p)
}

// compareLive compares what is on disk at path with what the state renders to.
func compareLive(cmd *cobra.Command, p config.Pipeline, path string, state namedState) ([]byte, error) {
	ctx, snap, now := cmd.Context(), state.as(p.Source), time.Now()
	files, notes, err := renderAt(ctx, p, snap, now)
	if err != nil {
		return nil, err
	}
	showNotes(cmd, notes)
	others := atOtherTimes(ctx, p, snap, now)
	sides, err := liveSides(path, files)
	if err != nil {
		return nil, err
	}
	var changes []byte
	for i, live := range sides {
		content := settleClock(files[i].Content, others[i], live.content)
		changes = append(changes, unified(live, side{
			path: live.path, from: "rendered from " + state.name, content: content,
		})...)
	}
	return changes, nil
}

// atOtherTimes returns for each file what it would be at other times. A rendering that fails at another time says nothing.
func atOtherTimes(ctx context.Context, p config.Pipeline, snap sdk.Snapshot, now time.Time) map[int][][]byte {
	versions := map[int][][]byte{}
	for _, at := range otherTimes(now) {
		files, _, err := renderAt(ctx, p, snap, at)
		if err != nil {
			continue
		}
		for i, f := range files {
			versions[i] = append(versions[i], f.Content)
		}
	}
	return versions
}
