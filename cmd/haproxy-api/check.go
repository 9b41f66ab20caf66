package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

type checkOptions struct {
	states  []string
	live    bool
	migrate string // a configuration file of haproxy-api 0.9
}

func newCheck(opts *options) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, templates and, with states, the rendered documents",
		Long: "check loads the configuration, finds the plugins, compiles the templates, and checks that HAProxy is installed\n" +
			"and that the folders of its files are writable. With states it also renders each of them and has the sink\n" +
			"check the document; the HAProxy sink runs 'haproxy -c'. check changes nothing. It prints every fault on\n" +
			"standard error. If there is none, it prints the pipelines whose sinks cannot check a document.\n" +
			"Exit code: 0 no faults, 1 faults.",
		Example: "  haproxy-api check\n" +
			"  haproxy-api check --state monday.json --state http://sidecar:7777/state.json\n" +
			"  haproxy-api check --state recorded/      # every *.json in the folder\n" +
			"  haproxy-api check --live                 # the current state of the running daemon\n" +
			"  haproxy-api check --migrate old.toml     # before haproxy-api 0.9 is replaced",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.migrate != "" {
				return checkMigration(cmd, opts, o)
			}
			faults, unchecked := check(cmd, opts, o)
			return reportFaults(cmd, faults, unchecked, opts.json())
		},
	}
	cmd.Flags().StringArrayVar(&o.states, "state", nil,
		"also check the document for this state: `FILE`, URL, - or a folder of *.json; may be repeated")
	cmd.Flags().BoolVar(&o.live, "live", false, "also check the document for the running daemon's state")
	cmd.Flags().StringVar(&o.migrate, "migrate", "",
		"list instead what differs from haproxy-api 0.9 with its configuration `FILE`, and what HAProxy 3.3 and newer reject")
	return opts.withOutput(opts.withAddress(cmd))
}

// check returns all faults, and the names of the pipelines whose sinks cannot check documents.
func check(cmd *cobra.Command, opts *options, o checkOptions) (faults []error, unchecked []string) {
	cfg, err := opts.load()
	if err != nil {
		return []error{err}, []string{}
	}
	ctx := cmd.Context()
	progress := terminal.NewProgress(cmd.ErrOrStderr())
	defer progress.Close()
	notes := progress.Over(cmd.ErrOrStderr())
	checker := daemon.NewChecker(cfg, progress.Show, func(sentence string) {
		fmt.Fprintln(notes, "note:", engine.OneLine(engine.Masked(sentence)))
	})
	defer checker.Close()
	faults = checker.CheckComponents(ctx)
	progress.Show("reading the states")
	all, stateFaults := readStates(cmd, opts, cfg, o)
	faults = append(faults, stateFaults...)
	for _, state := range all {
		state.PrintQuarantined(notes)
	}
	pipelineFaults, unchecked := checker.CheckPipelines(ctx, all)
	return append(faults, pipelineFaults...), unchecked
}

// readStates reads the states that the flags name. It returns those that it could read, and an error for each other one.
func readStates(cmd *cobra.Command, opts *options, cfg *config.Config, o checkOptions) ([]states.State, []error) {
	all, faults := states.ReadAll(cmd.Context(), o.states, cmd.InOrStdin())
	if !o.live {
		return all, faults
	}
	client, err := opts.clientFor(cfg)
	if err != nil {
		return all, append(faults, err)
	}
	state, err := daemonState(cmd.Context(), client, cfg)
	if err != nil {
		return all, append(faults, err)
	}
	return append(all, state), faults
}

// reportFaults prints the faults or, if there are none, the pipelines whose sinks cannot check documents.
func reportFaults(cmd *cobra.Command, faults []error, unchecked []string, inJSON bool) error {
	details := []string{}
	for _, fault := range faults {
		details = append(details, engine.Detail(fault))
	}
	out := cmd.OutOrStdout()
	var err error
	switch {
	case inJSON:
		err = printJSON(out, map[string][]string{"faults": details, "unchecked": unchecked})
	case len(faults) > 0:
		fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(details, "\n"))
	case len(unchecked) > 0:
		_, err = fmt.Fprintln(out, "no faults; not checked by a sink:", strings.Join(unchecked, ", "))
	default:
		_, err = fmt.Fprintln(out, "no faults")
	}
	if err == nil && len(faults) > 0 {
		return errReported
	}
	return err
}
