package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/internal/suggest"
)

// A usageError is a fault in the command line or in the configuration, found before the command has done anything.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// oneArg returns a check that returns a usage error with the hint unless the command has one argument, or none if it is optional.
func oneArg(optional bool, hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 || len(args) == 0 && !optional {
			return &usageError{fmt.Errorf("%s; %s", hint, seeHelp(cmd))}
		}
		return nil
	}
}

// noArgs returns a usage error if a command that takes no arguments has one. If it has subcommands, the error suggests one.
func noArgs(cmd *cobra.Command, args []string) error {
	path := cmd.CommandPath()
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		return &usageError{fmt.Errorf("unexpected argument %q; %s", args[0], seeHelp(cmd))}
	}
	var names []string
	for _, row := range subcommandRows(cmd) {
		names = append(names, row[0])
	}
	hint := didYouMean("", args[0], names)
	for _, sub := range cmd.Commands() {
		if slices.Contains(sub.SuggestFor, args[0]) {
			hint = didYouMean("", sub.Name(), names)
		}
	}
	return &usageError{fmt.Errorf("unknown command %q for %q; %s", args[0], path, cmp.Or(hint, seeHelp(cmd)))}
}

// flagError returns a usage error for an error of the flags. For an unknown flag it suggests one.
func flagError(cmd *cobra.Command, err error) error {
	hint := ""
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		if group := unknown.GetSpecifiedShortnames(); len(group) > 1 {
			name = group // -output is read as seven flags
		}
		var names []string
		cmd.Flags().VisitAll(func(flag *pflag.Flag) {
			if !flag.Hidden {
				names = append(names, flag.Name)
			}
		})
		hint = didYouMean("--", name, names)
	}
	return &usageError{fmt.Errorf("%w; %s", err, cmp.Or(hint, seeHelp(cmd)))}
}

func seeHelp(cmd *cobra.Command) string { return fmt.Sprintf("see '%s --help'", cmd.CommandPath()) }

// didYouMean returns a question that names the candidate that is similar to name, with the prefix, or "" if none is.
func didYouMean(prefix, name string, candidates []string) string {
	nearest, similar := suggest.Nearest(name, candidates)
	if !similar {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", prefix+nearest)
}
