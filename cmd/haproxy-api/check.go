package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

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
		Use:        "check",
		SuggestFor: []string{"validate", "verify", "lint", "migrate"},
		Short:      "Check configuration, templates and, with states, the rendered documents",
		Long: "check loads the configuration, finds the plugins, compiles the templates, and checks what the daemon needs\n" +
			"from this machine: directories that exist or can be created, and that can be written; HAProxy; the address,\n" +
			"unless a haproxy-api listens there already; certificates. Permissions are those of the user who runs check. With\n" +
			"states it also renders each of them and has the sink check the document; the HAProxy sink runs 'haproxy -c',\n" +
			"and addresses of the document that other programs have are noted. check changes nothing.\n\n" +
			"It prints what it has read, warnings of the daemon and notes, which are not faults, and every fault on standard\n" +
			"error. If there is none, it prints the pipelines whose sinks cannot check a document.\n" +
			"Exit code: 0 no faults, 1 faults.",
		Example: "  haproxy-api check\n" +
			"  haproxy-api check --state monday.json --state http://sidecar:7777/state.json\n" +
			"  haproxy-api check --state recorded/      # every *.json in the directory\n" +
			"  haproxy-api check --live                 # the current state of the running daemon\n" +
			"  haproxy-api check --migrate old.toml     # before haproxy-api 0.9 is replaced",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.migrate != "" {
				return checkMigration(cmd, opts, o)
			}
			report := check(cmd, opts, o)
			if cmd.Context().Err() != nil {
				return errInterrupted
			}
			return report.print(cmd, opts.json())
		},
	}
	cmd.Flags().StringArrayVar(&o.states, "state", nil,
		"also check the document for this state: `FILE`, URL, - or a directory of *.json; may be repeated")
	cmd.Flags().BoolVar(&o.live, "live", false, "also check the document for the running daemon's state")
	cmd.Flags().StringVar(&o.migrate, "migrate", "",
		"list instead what differs from haproxy-api 0.9 with its configuration `FILE`, and what HAProxy 3.3 and newer reject")
	return opts.withOutput(opts.withAddress(cmd))
}

// A checkReport is what check prints.
type checkReport struct {
	Read      []daemon.Input `json:"read"`
	User      string         `json:"user"` // whose permissions were checked
	Warnings  []string       `json:"warnings"`
	Notes     []string       `json:"notes"`
	Faults    []string       `json:"faults"`
	Unchecked []string       `json:"unchecked"` // pipelines whose sinks cannot check documents
}

func (r *checkReport) addFaults(faults ...error) {
	for _, fault := range faults {
		r.Faults = append(r.Faults, engine.Detail(fault))
	}
}

// check checks everything and returns the report. It prints notes as they arise, unless the report is printed as JSON.
func check(cmd *cobra.Command, opts *options, o checkOptions) *checkReport {
	report := &checkReport{
		Read: []daemon.Input{opts.configInput()}, User: daemon.CurrentUser(),
		Warnings: []string{}, Notes: []string{}, Faults: []string{}, Unchecked: []string{},
	}
	stderr := cmd.ErrOrStderr()
	addNote := func(sentence string) {
		note := engine.OneLine(engine.Masked(sentence))
		report.Notes = append(report.Notes, note)
		if !opts.json() {
			fmt.Fprintln(stderr, "note:", note)
		}
	}
	if note := opts.defaultsNote(); note != "" {
		addNote(note)
	}
	cfg, err := opts.load()
	if err != nil {
		report.addFaults(err)
		return report
	}
	report.Read = append(report.Read, valueInputs(cfg)...)
	ctx := cmd.Context()
	progress := terminal.NewProgress(stderr)
	defer progress.Close()
	stderr = progress.Over(stderr)
	checker := daemon.NewChecker(cfg, progress.Show, addNote)
	defer checker.Close()
	report.addFaults(checker.CheckComponents(ctx)...)
	report.Read = append(report.Read, checker.Inputs(ctx)...)
	for _, warning := range checker.Warnings() {
		report.Warnings = append(report.Warnings, engine.OneLine(engine.Masked(warning)))
	}
	progress.Show("reading the states")
	all, stateFaults := readStates(cmd, opts, cfg, o)
	report.addFaults(stateFaults...)
	for _, state := range all {
		state.PrintQuarantined(stderr)
	}
	pipelineFaults, unchecked := checker.CheckPipelines(ctx, all)
	report.addFaults(pipelineFaults...)
	report.Unchecked = unchecked
	return report
}

// configInput returns the configuration file as an input.
func (o *options) configInput() daemon.Input {
	file, named := o.file()
	input := daemon.Input{Kind: "configuration", Name: file}
	if path, err := filepath.Abs(file); err == nil {
		input.Name = path
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		input.Detail = "does not exist"
		if !named {
			input.Detail += "; defaults, environment and flags apply"
		}
	}
	return input
}

// valueInputs returns the environment variables and the secret files whose values are in effect.
func valueInputs(cfg *config.Config) []daemon.Input {
	var all []daemon.Input
	if name := config.EnvFile; os.Getenv(name) != "" {
		all = append(all, daemon.Input{Kind: "environment", Name: name})
	}
	for _, kind := range []string{"environment", "file"} {
		var names []string
		for _, value := range cfg.Values() {
			if name, ok := strings.CutPrefix(value.Origin, kind+" "); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			input := daemon.Input{Kind: kind, Name: name}
			if kind == "file" {
				input.Kind = "secret"
			}
			all = append(all, input)
		}
	}
	return all
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

// print prints the report: what was read, the warnings, and the faults or that there are none.
func (r *checkReport) print(cmd *cobra.Command, inJSON bool) error {
	out, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	var err error
	if inJSON {
		err = printJSON(out, r)
	} else {
		err = r.printRead(out)
		for _, warning := range r.Warnings {
			fmt.Fprintln(stderr, "warning:", warning)
		}
	}
	switch {
	case inJSON || err != nil:
	case len(r.Faults) > 0:
		fmt.Fprintln(stderr, strings.Join(r.Faults, "\n"))
	case len(r.Unchecked) > 0:
		_, err = fmt.Fprintln(out, "no faults; not checked by a sink:", strings.Join(r.Unchecked, ", "))
	default:
		_, err = fmt.Fprintln(out, "no faults")
	}
	if err == nil && len(r.Faults) > 0 {
		return errReported
	}
	return err
}

// printRead prints what was read, and as which user.
func (r *checkReport) printRead(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, input := range r.Read {
		cells := []string{input.Kind, engine.OneLine(input.Name), engine.OneLine(input.Detail)}
		fmt.Fprintln(table, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	fmt.Fprintf(table, "user\t%s\n", r.User)
	return table.Flush()
}
