package main

import (
	"slices"

	"github.com/spf13/cobra"
)

func newTemplate(opts *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Test templates, and list the functions that they may call",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTemplateTest(opts), newTemplateFunctions())
	return cmd
}

// goSpelling makes --update of the -update that people write who know golden files from Go. To our flags that would be six
// flags of one letter each.
func goSpelling(args []string) []string {
	at := slices.Index(args, "test")
	if at < 1 || args[at-1] != "template" {
		return args
	}
	spelled := slices.Clone(args)
	for i, arg := range spelled[at:] {
		if arg == "--" {
			break
		}
		if arg == "-update" {
			spelled[at+i] = "--update"
		}
	}
	return spelled
}
