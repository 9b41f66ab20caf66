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

func newTemplateFunctions() *cobra.Command {
	return &cobra.Command{
		Use:   "functions [NAME]",
		Short: "List the functions that templates can call, each with an example",
		Long: "functions lists every function that a template can call, or shows the named one: its arguments, its purpose,\n" +
			"and an example with its result for a service \"web\" with two instances.",
		Example: "  haproxy-api template functions\n" +
			"  haproxy-api template functions getPorts\n" +
			"  haproxy-api template functions | grep -A2 regex",
		Args: argsBetween(0, 1, "name one function, or none for all of them"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out, all := cmd.OutOrStdout(), templates.Functions()
			if len(args) == 0 {
				return listFunctions(out, all)
			}
			return showFunction(out, all, args[0])
		},
	}
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

func showFunction(out io.Writer, all []templates.Function, name string) error {
	at := slices.IndexFunc(all, func(f templates.Function) bool { return f.Name == name })
	if at < 0 {
		names := make([]string, len(all))
		for i, f := range all {
			names[i] = f.Name
		}
		nearest, _ := suggest.Nearest(name, names)
		return &usageError{fmt.Errorf("templates have no function %q: the nearest is %q, and 'haproxy-api template functions' "+
			"lists all of them", name, nearest)}
	}
	return describeFunction(out, all[at])
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
