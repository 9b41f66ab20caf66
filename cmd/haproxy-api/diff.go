package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/templatetest"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

type diffOptions struct {
	templateFlags
	state    string
	exitCode bool
}

func newDiff(opts *options) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [--state FILE|URL|-]",
		Short: "Show what a state or an edited template would change in the live configuration",
		Long: "diff compares the live files with what the current templates render for a state. The live files are those on\n" +
			"disk where the sink writes them (config_file of [haproxy], and companions beside it). Without --state it\n" +
			"renders the newest state of the running daemon. diff changes nothing and does not ask the sink; 'check' does.\n" +
			"It does not show a companion that was removed from the template set. Lines that differ only in the time of\n" +
			"the rendering count as equal.\n\n" +
			"Exit code: 0 whether there are differences or not; with --exit-code 1 if there are differences.",
		Example: "  haproxy-api diff                                # edits, and changes that are not live yet\n" +
			"  haproxy-api diff --template edited.cfg          # a copy, before it replaces the template\n" +
			"  haproxy-api diff --state http://sidecar:7777/state.json --exit-code",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDiff(cmd, opts, o) },
	}
	cmd.Flags().StringVar(&o.state, "state", "", "the state to render instead of the daemon's: `FILE`, URL or -")
	o.register(cmd)
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit with 1 if there are differences")
	return opts.withOutput(opts.withAddress(cmd))
}

func runDiff(cmd *cobra.Command, opts *options, o diffOptions) error {
	ctx := cmd.Context()
	cfg, err := opts.loadWithNote(cmd)
	if err != nil {
		return err
	}
	p, err := o.selectFrom(cfg)
	if err != nil {
		return err
	}
	path, err := livePath(cfg, p)
	if err != nil {
		return err
	}
	state, err := stateToCompare(cmd, opts, cfg, p, o.state)
	if err != nil {
		return err
	}
	state.PrintQuarantined(cmd.ErrOrStderr())
	changes, notes, err := templatetest.CompareLive(ctx, daemon.TemplateConfig(p), state.As(p.Source), path, state.Name)
	if err != nil {
		return err
	}
	printNotes(cmd, notes)
	out := cmd.OutOrStdout()
	switch {
	case opts.json():
		err = printJSON(out, struct {
			File      string `json:"file"`
			State     string `json:"state"`
			Different bool   `json:"different"`
			Diff      string `json:"diff"`
		}{path, state.Name, len(changes) > 0, string(changes)})
	case len(changes) == 0:
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "no difference: %s is what %s renders to\n", path, state.Name)
	default:
		_, err = out.Write(terminal.PaletteFor(out).Diff(changes))
	}
	if err == nil && o.exitCode && len(changes) > 0 {
		return errReported
	}
	return err
}

// livePath returns the path of the main file that a pipeline's sink writes. It knows the keys of the built-in sinks and of
// plugins that use the same ones.
func livePath(cfg *config.Config, p config.Pipeline) (string, error) {
	sink := cfg.Sinks[p.Sink]
	for _, key := range []string{"config_file", "path"} {
		if path, ok := sink.Block[key].(string); ok && path != "" {
			return path, nil
		}
	}
	return "", &usageError{fmt.Errorf("cannot find the live files of sink %s (type %s): diff can compare them if "+
		"[sinks.%s] has the key config_file or path", p.Sink, sink.Type, p.Sink)}
}

// stateToCompare reads the state at location, or asks the daemon for its newest one if location is empty.
func stateToCompare(
	cmd *cobra.Command, opts *options, cfg *config.Config, p config.Pipeline, location string,
) (states.State, error) {
	if location != "" {
		return readState(cmd, location)
	}
	client, err := opts.clientFor(cfg)
	if err != nil {
		return states.State{}, err
	}
	state, err := daemonState(cmd.Context(), client, cfg)
	if err != nil {
		return state, fmt.Errorf("%w; or name a state with --state", err)
	}
	return state, state.CheckSource(p)
}

// daemonState returns the newest state of the daemon, which runs with cfg.
func daemonState(ctx context.Context, client apiclient.Client, cfg *config.Config) (states.State, error) {
	source := daemon.FrontSource(cfg)
	snap, err := client.State(ctx, source)
	return states.New("the state of the daemon at "+client.Address(), source, snap), err
}
