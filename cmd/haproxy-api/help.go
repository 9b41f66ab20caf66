package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
)

// helpWidth is the width of the help. Help is often written to a pipe or to a file, so it does not depend on the terminal.
const helpWidth = 100

// setHelp makes root and its subcommands print usage with this file's functions.
func setHelp(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		page := terminal.NewPlainPage(helpWidth)
		writeUsage(page, cmd)
		_, err := page.WriteTo(cmd.OutOrStdout())
		return err
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		cmd.InitDefaultHelpFlag()
		cmd.InitDefaultVersionFlag()
		page := terminal.NewPlainPage(helpWidth)
		for i, paragraph := range paragraphs(description(cmd)) {
			if i > 0 {
				page.Line("")
			}
			if isVerbatim(paragraph) {
				page.Verbatim(0, paragraph)
			} else {
				page.Line(strings.ReplaceAll(paragraph, "\n", " "))
			}
		}
		page.Line("")
		writeUsage(page, cmd)
		if _, err := page.WriteTo(cmd.OutOrStdout()); err != nil {
			os.Exit(report(cmd.ErrOrStderr(), err)) // a function for help cannot return an error
		}
	})
	root.SetHelpCommand(&cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Show the help of a command",
		ValidArgsFunction: completeHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return noArgs(cmd, rest)
			}
			return cmd.Help()
		},
	})
}

// description returns the long description of a command, or the short one if there is no other.
func description(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return strings.TrimSpace(cmd.Long)
	}
	return cmd.Short
}

// paragraphs splits a description.
func paragraphs(text string) []string { return strings.Split(text, "\n\n") }

// isVerbatim reports whether the lines of a paragraph are shown as they are, because they are indented.
func isVerbatim(paragraph string) bool { return strings.HasPrefix(paragraph, " ") }

func writeUsage(page *terminal.Page, cmd *cobra.Command) {
	page.Line("Usage:")
	if cmd.Runnable() && !isGroup(cmd) {
		page.Line("  " + useLine(cmd))
	}
	if cmd.HasAvailableSubCommands() {
		page.Line("  " + cmd.CommandPath() + " COMMAND")
		writeSection(page, "Commands:", subcommandRows(cmd))
	}
	if cmd.HasExample() {
		page.Line("")
		page.Line("Examples:")
		page.Verbatim(0, cmd.Example)
	}
	writeSection(page, "Flags:", flagRows(cmd.LocalFlags()))
	writeSection(page, "Global flags:", flagRows(cmd.InheritedFlags()))
	if cmd.HasAvailableSubCommands() {
		page.Line("")
		page.Line(fmt.Sprintf("'%s COMMAND --help' shows the help of a command.", cmd.CommandPath()))
	}
}

func writeSection(page *terminal.Page, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	page.Line("")
	page.Line(title)
	page.Fields(2, rows)
}

// isGroup reports whether a command only groups others.
func isGroup(cmd *cobra.Command) bool { return cmd.HasParent() && cmd.HasAvailableSubCommands() }

// useLine returns a command's path, its arguments and whether it has flags.
func useLine(cmd *cobra.Command) string {
	line := strings.TrimSpace(strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + cmd.Use)
	return line + " [FLAGS]"
}

// subcommandRows returns the name and the purpose of each command that users call.
func subcommandRows(cmd *cobra.Command) [][2]string {
	var rows [][2]string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			rows = append(rows, [2]string{sub.Name(), sub.Short})
		}
	}
	return rows
}

// flagRows returns how each flag is written and what it does.
func flagRows(flags *pflag.FlagSet) [][2]string {
	var rows [][2]string
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		shorthand := "    "
		if flag.Shorthand != "" {
			shorthand = "-" + flag.Shorthand + ", "
		}
		value, usage := flagValue(flag)
		if value != "" {
			value = terminal.NoBreak + value
		}
		rows = append(rows, [2]string{shorthand + "--" + flag.Name + value, usage})
	})
	return rows
}

// valueName is the annotation of a flag with the name of its value.
const valueName = "value"

// nameValues moves the names of values from the usage of all flags, where pflag marks them with back quotes, to an annotation:
// completion shows the usage as it is.
func nameValues(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations[valueName] != nil {
			return // a flag of root, which is also one of the others
		}
		name, usage := pflag.UnquoteUsage(flag)
		flag.Usage = usage
		switch name {
		case "int":
			name = "N"
		case "duration":
			name = "DURATION"
		}
		_ = cmd.Flags().SetAnnotation(flag.Name, valueName, []string{name}) // it fails only if the flag does not exist
	})
	for _, sub := range cmd.Commands() {
		nameValues(sub)
	}
}

// flagValue returns the name of a flag's value, or "" for a boolean, and what the flag does with its default.
func flagValue(flag *pflag.Flag) (name, usage string) {
	usage = flag.Usage
	if names := flag.Annotations[valueName]; len(names) > 0 {
		name = names[0]
	}
	switch flag.DefValue {
	case "", "false", "[]", "0":
	default:
		usage += " (default" + terminal.NoBreak + flag.DefValue + ")"
	}
	return name, usage
}
