package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/states"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/engine/config"
	"github.com/haproxy-api/haproxy-api/engine/exclude"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
)

type checkOptions struct {
	states []string
	live   bool
}

func newCheck(opts *options) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check configuration, templates and, with states, what they render to",
		Long: "check loads the configuration, resolves plugins, compiles templates, and looks for HAProxy and for the\n" +
			"folders that are written to. With states it also renders each of\n" +
			"them and lets the sink judge the result, which for HAProxy is what 'haproxy -c' says. It changes nothing, and\n" +
			"prints every fault on standard error, and otherwise the pipelines whose sinks cannot check a document.\n" +
			"Exit code: 0 no faults, 1 faults.",
		Example: "  haproxy-api check\n" +
			"  haproxy-api check --state monday.json --state http://sidecar:7777/state.json\n" +
			"  haproxy-api check --state recorded/      # every *.json in the folder\n" +
			"  haproxy-api check --live                 # what the running daemon knows now",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			faults, unchecked := check(cmd, opts, o)
			return reportFaults(cmd, faults, unchecked, opts.json())
		},
	}
	cmd.Flags().StringArrayVar(&o.states, "state", nil,
		"also check what this state renders to: `FILE`, URL, - or a folder of *.json; may be given again")
	cmd.Flags().BoolVar(&o.live, "live", false, "also check what the running daemon's state renders to")
	return opts.reporting(opts.asking(cmd))
}

// reportFaults prints the faults, and otherwise the pipelines whose sinks cannot check what they render to.
func reportFaults(cmd *cobra.Command, faults []error, unchecked []string, inJSON bool) error {
	told := []string{}
	for _, fault := range faults {
		told = append(told, engine.Detail(fault))
	}
	switch {
	case inJSON:
		if err := printJSON(cmd.OutOrStdout(), map[string][]string{"faults": told, "unchecked": unchecked}); err != nil {
			return err
		}
	case len(faults) == 0 && len(unchecked) > 0:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no faults; not checked by a sink:", strings.Join(unchecked, ", "))
		return err
	case len(faults) == 0:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no faults")
		return err
	default:
		fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(told, "\n"))
	}
	if len(faults) > 0 {
		return errReported
	}
	return nil
}

// check looks at everything that can be looked at without changing anything, and returns all that is wrong, and the pipelines of
// which the sink cannot say whether anything is.
func check(cmd *cobra.Command, opts *options, o checkOptions) (faults []error, unchecked []string) {
	unchecked = []string{}
	cfg, err := opts.load()
	if err != nil {
		return []error{err}, unchecked
	}
	ctx, log := cmd.Context(), slog.New(slog.DiscardHandler)
	note := func(sentence string) {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", engine.OneLine(engine.Masked(sentence)))
	}
	if _, err := newAccessPolicy(cfg.API, log); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, checkEnvironment(cfg)...)
	open := opener{cfg: cfg, log: log}
	sources, err := open.sources(ctx, nil)
	if err != nil {
		faults = append(faults, err)
	}
	defer closeAll(sources)
	sinks, err := open.sinks(ctx, nil)
	if err != nil {
		faults = append(faults, err)
	}
	defer closeAll(sinks)
	if _, down := errors.AsType[*host.StartError](errors.Join(faults...)); down {
		note("what cannot start at the moment does not keep the daemon from starting: it is started again until it can")
	}
	faults = append(faults, sharedFiles(cfg)...)
	all, unread := statesToCheck(cmd, opts, cfg, o)
	faults = append(faults, unread...)
	for _, state := range all {
		state.PrintQuarantined(cmd.ErrOrStderr())
	}
	for _, name := range sortedKeys(cfg.Pipelines) {
		p := cfg.Pipelines[name]
		c := pipelineCheck{name: name, pipeline: p, sink: sinks[p.Sink], note: note}
		c.tellWatched(ownFiles(cfg, p))
		faults = append(faults, c.run(ctx, all)...)
		if c.unchecked {
			unchecked = append(unchecked, name)
		}
	}
	return faults, unchecked
}

func statesToCheck(cmd *cobra.Command, opts *options, cfg *config.Config, o checkOptions) ([]states.State, []error) {
	all, faults := states.ReadAll(cmd.Context(), o.states, cmd.InOrStdin())
	if o.live {
		daemon, err := opts.daemonOf(cfg)
		if err != nil {
			return all, append(faults, err)
		}
		state, err := daemonState(cmd.Context(), daemon, cfg)
		if err != nil {
			return all, append(faults, err)
		}
		all = append(all, state)
	}
	return all, faults
}

// pipelineCheck looks at one pipeline.
type pipelineCheck struct {
	name     string
	pipeline config.Pipeline
	sink     sdk.Sink // nil where there is none to ask
	note     func(sentence string)

	unchecked bool // the sink cannot say whether it would take a document
}

// run compiles the templates and tries each state on them. A state's faults are told with its name.
func (c *pipelineCheck) run(ctx context.Context, all []states.State) []error {
	template, err := newTemplates(c.pipeline).Load()
	if err != nil {
		return []error{fmt.Errorf("pipeline %s: %w", c.name, err)}
	}
	var faults []error
	told := false
	for _, state := range all {
		if ctx.Err() != nil {
			return append(faults, ctx.Err())
		}
		if err := state.CheckSource(c.pipeline); err != nil {
			c.note(fmt.Sprintf("pipeline %s is not checked with it: %v", c.name, err))
			continue
		}
		snap := state.As(c.pipeline.Source)
		if err := c.try(ctx, template, snap); err != nil {
			faults = append(faults, fmt.Errorf("%s: pipeline %s: %w", state.Name, c.name, err))
			continue
		}
		if !told {
			told = true
			c.tellVolatile(ctx, template, snap)
		}
	}
	return faults
}

// tellVolatile notes where the template writes something else each time. One state is enough to see it, mostly.
func (c *pipelineCheck) tellVolatile(ctx context.Context, template engine.Template, snap sdk.Snapshot) {
	reporter, ok := template.(engine.NondeterminismReporter)
	if !ok {
		return
	}
	places, _ := reporter.NondeterministicLines(ctx, snap) // it rendered before
	for _, place := range places {
		c.note(fmt.Sprintf("pipeline %s: %s", c.name, place))
	}
}

// try renders snap and asks the sink.
func (c *pipelineCheck) try(ctx context.Context, template engine.Template, snap sdk.Snapshot) error {
	files, _, err := template.Render(ctx, snap)
	if err != nil {
		return err
	}
	if c.sink == nil {
		return nil // why is a fault
	}
	checker, ok := c.sink.(sdk.Checker)
	if ok {
		err = checker.Check(ctx, sdk.Document{Pipeline: c.name, Digest: sdk.DigestOf(files), Files: files})
	}
	if !ok || errors.Is(err, errors.ErrUnsupported) {
		c.unchecked = true
		return nil
	}
	err = exclude.Explain(ctx, template, snap, files, err)
	if errors.Is(err, sdk.ErrRejected) {
		return fmt.Errorf("the sink rejects what was rendered: %w", err)
	}
	return err
}
