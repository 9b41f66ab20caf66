package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/daemon"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/plugins/conformance"
	"github.com/haproxy-api/haproxy-api/plugins/host"
	"github.com/haproxy-api/haproxy-api/plugins/sdk"
	"github.com/haproxy-api/haproxy-api/plugins/sdk/serve"
	"github.com/haproxy-api/haproxy-api/sinks/haproxy"
)

func newPlugin(opts *options) *cobra.Command {
	plugin := &cobra.Command{
		Use:   "plugin",
		Short: "List plugins, write a new one, and check whether one conforms to the protocol",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	plugin.AddCommand(newPluginList(opts), newDoctor(opts), newPluginNew(), newPluginHAProxy())
	return plugin
}

// newPluginHAProxy returns the HAProxy plugin, which is part of this binary. The daemon starts it as it starts third-party
// plugins.
func newPluginHAProxy() *cobra.Command {
	return &cobra.Command{
		Use:    "haproxy",
		Short:  "Serve the HAProxy sink (started by the daemon)",
		Hidden: true,
		Args:   noArgs,
		Run: func(*cobra.Command, []string) {
			setGCPercent()
			serve.Sink(sdk.Info{Name: "haproxy", Version: version()}, haproxy.Defaults(),
				func(_ context.Context, env sdk.Env, cfg haproxy.Config) (sdk.Sink, error) {
					sink, err := haproxy.New(env, cfg)
					if err != nil { // only the configuration can be wrong
						return nil, sdk.Rejectf("%w", err)
					}
					return sink, nil
				})
		},
	}
}

func newPluginList(opts *options) *cobra.Command {
	return opts.withOutput(&cobra.Command{
		Use:   "list",
		Short: "List the available types of sinks and sources",
		Long: "list prints the built-in types, and those of the plugins that the configuration names or that are found in\n" +
			"plugin_dir or PATH.",
		Example: "  haproxy-api plugin list",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := opts.load()
			if err != nil {
				return err
			}
			if opts.json() {
				return printJSON(cmd.OutOrStdout(), daemon.Types(cfg))
			}
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "KIND\tTYPE\tPROGRAM")
			for _, p := range daemon.Types(cfg) {
				fmt.Fprintf(out, "%s\t%s\t%s\n", p.Kind, p.Type, p.Path)
			}
			return out.Flush()
		},
	})
}

type doctorOptions struct {
	kind, fileName, bad string
	args, set, good     []string
}

func newDoctor(opts *options) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor PATH",
		Short: "Check whether a plugin conforms to the protocol",
		Long: "doctor starts the plugin several times as the daemon does, and checks every requirement of the protocol.\n" +
			"A sink really applies the documents that it is given, so use a configuration for which that does no harm.",
		Example: "  haproxy-api plugin doctor ./haproxy-api-sink-note \\\n" +
			"    --block directory=/tmp/notes --good a.txt --good b.txt --bad c.txt",
		ValidArgsFunction: completeFile,
		Args:              oneArg(false, "name the one plugin to check"),
		RunE:              func(cmd *cobra.Command, args []string) error { return doctor(cmd, args[0], o, opts.json()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kind, "kind", "",
		"`KIND` of the plugin: sink or source; default: from a program name such as haproxy-api-sink-note")
	flags.StringArrayVar(&o.args, "arg", nil, "an `ARGUMENT` for the plugin; may be repeated")
	flags.StringArrayVar(&o.set, "block", nil, "a `KEY=VALUE` of the plugin's configuration; may be repeated")
	flags.StringArrayVar(&o.good, "good", nil, "a `FILE` that a sink accepts; required twice or not at all")
	flags.StringVar(&o.bad, "bad", "", "a `FILE` that a sink must reject")
	flags.StringVar(&o.fileName, "name", "main", "`NAME` of the file in the documents")
	return opts.withOutput(cmd)
}

// A doctorReport is what doctor prints as JSON.
type doctorReport struct {
	Conforms bool            `json:"conforms"`
	Checks   []doctorFinding `json:"checks"`
}

type doctorFinding struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome"` // ok, failed or skipped
	Reason  string `json:"reason,omitempty"`
}

func newDoctorFinding(f conformance.Finding) doctorFinding {
	switch {
	case f.Skipped != "":
		return doctorFinding{f.Check, "skipped", f.Skipped}
	case f.Err != nil:
		return doctorFinding{f.Check, "failed", engine.Printable(f.Err.Error())}
	}
	return doctorFinding{Check: f.Check, Outcome: "ok"}
}

func doctor(cmd *cobra.Command, path string, o doctorOptions, inJSON bool) error {
	program := conformance.Program{Path: path, Args: o.args, Block: sdk.Block{}}
	for _, pair := range o.set {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return &usageError{fmt.Errorf("--block %q is not key=value", pair)}
		}
		program.Block[key] = value
	}
	report := doctorReport{Checks: []doctorFinding{}}
	progress := terminal.NewProgress(cmd.ErrOrStderr())
	defer progress.Close()
	progress.Show("checking " + engine.OneLine(path))
	out := progress.Over(cmd.OutOrStdout())
	add := func(f conformance.Finding) {
		report.Checks = append(report.Checks, newDoctorFinding(f))
		if !inJSON {
			fmt.Fprintln(out, f)
		}
		progress.Show(fmt.Sprintf("%d requirements checked", len(report.Checks)))
	}
	switch kind := kindOf(path, o.kind); kind {
	case "source":
		waiting := func(problems string) {
			progress.Show("waiting for a snapshot; the source reports: " + engine.OneLine(problems))
		}
		source := conformance.Source{Program: program, OnProblem: waiting}
		report.Conforms = conformance.CheckSource(cmd.Context(), source, add)
	case "sink":
		sink, err := doctorSink(program, o)
		if err != nil {
			return err
		}
		report.Conforms = conformance.CheckSink(cmd.Context(), sink, add)
	default:
		return &usageError{fmt.Errorf("cannot tell whether %s is a sink or a source: use --kind sink or --kind source", path)}
	}
	progress.Close()
	if inJSON {
		if err := printJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	}
	if !report.Conforms {
		hint := ""
		if len(o.set) == 0 {
			hint = "; --block KEY=VALUE sets the keys that its configuration needs"
		}
		return fmt.Errorf("%s does not conform to the protocol: see the failures above%s", path, hint)
	}
	return nil
}

func doctorSink(program conformance.Program, o doctorOptions) (conformance.Sink, error) {
	sink := conformance.Sink{Program: program, FileName: o.fileName}
	if len(o.good) > 0 && len(o.good) != len(sink.Good) {
		return sink, &usageError{fmt.Errorf("--good is given %d times: give two different files, or none", len(o.good))}
	}
	for i, name := range o.good {
		content, err := os.ReadFile(name)
		if err != nil {
			return sink, fmt.Errorf("cannot read the file that the sink should accept: %w", err)
		}
		sink.Good[i] = string(content)
	}
	if o.bad == "" {
		return sink, nil
	}
	content, err := os.ReadFile(o.bad)
	if err != nil {
		return sink, fmt.Errorf("cannot read the file that the sink should reject: %w", err)
	}
	sink.Bad = string(content)
	return sink, nil
}

// kindOf returns the given kind or, if that is empty, the kind in the file name by which the daemon finds plugins.
func kindOf(path, given string) string {
	if given != "" {
		return given
	}
	kind, _, _ := host.ParseProgramName(filepath.Base(path))
	return kind
}
