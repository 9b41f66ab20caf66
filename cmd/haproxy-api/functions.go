package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/internal/suggest"
	"github.com/haproxy-api/haproxy-api/templates"
)

func newTemplateFunctions(opts *options) *cobra.Command {
	return opts.withOutput(&cobra.Command{
		Use:   "functions [NAME]",
		Short: "List the functions that templates can call, each with an example",
		Long: "functions lists every function that a template can call, or shows the named one: its arguments, its purpose,\n" +
			"and an example with its result for a service \"web\" with two instances.",
		Example: "  haproxy-api template functions\n" +
			"  haproxy-api template functions getPorts\n" +
			"  haproxy-api template functions | grep -A2 regex",
		ValidArgsFunction: completeFunction,
		Args:              oneArg(true, "name one function, or none for all of them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, all := cmd.OutOrStdout(), templates.Functions()
			if len(args) > 0 {
				f, err := findFunction(all, args[0])
				if err != nil {
					return err
				}
				if !opts.json() {
					return describeFunction(out, f)
				}
				all = []templates.Function{f}
			}
			if opts.json() {
				return printJSON(out, all)
			}
			return listFunctions(out, all)
		},
	})
}

func listFunctions(out io.Writer, all []templates.Function) error {
	topic := ""
	for _, f := range all {
		if f.Topic != topic {
			topic = f.Topic
			if _, err := fmt.Fprintf(out, "%s\n\n", terminal.PaletteFor(out).Bold("== "+topic)); err != nil {
				return err
			}
		}
		if err := describeFunction(out, f); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	return nil
}

// findFunction returns the function with that name. The error is a usage error that names the nearest one.
func findFunction(all []templates.Function, name string) (templates.Function, error) {
	at := slices.IndexFunc(all, func(f templates.Function) bool { return f.Name == name })
	if at >= 0 {
		return all[at], nil
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.Name
	}
	nearest, _ := suggest.Nearest(name, names)
	return templates.Function{}, &usageError{fmt.Errorf("templates have no function %q: the nearest is %q, and 'haproxy-api "+
		"template functions' lists all of them", name, nearest)}
}

// describeFunction prints a function's usage and description on one line, then its example and the result.
func describeFunction(out io.Writer, f templates.Function) error {
	description := f.Description
	if f.Nondeterministic {
		description += " (nondeterministic)"
	}
	_, err := fmt.Fprintf(out, "%s: %s\n  %s\n", terminal.PaletteFor(out).Bold(f.Usage), description, f.Example)
	for line := range strings.SplitSeq(f.Result, "\n") {
		fmt.Fprintln(out, "  =>", line)
	}
	return err
}
