package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/scaffold"
	"github.com/haproxy-api/haproxy-api/engine"
)

func newPluginNew() *cobra.Command {
	return &cobra.Command{
		Use:   "new sink|source NAME DIR",
		Short: "Write a working plugin to begin with",
		Long: "new writes a Go module with a small plugin to DIR, which must be empty or missing. The plugin works and passes\n" +
			"the conformance checks: a sink that writes each document to a file, or a source that reads instances from a\n" +
			"file. NAME is the type of the plugin in the configuration. Building it needs Go.",
		Example: "  haproxy-api plugin new sink note haproxy-api-sink-note\n" +
			"  haproxy-api plugin new source my-registry haproxy-api-source-my-registry",
		ValidArgsFunction: completePluginNew,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				return nil
			}
			return &usageError{fmt.Errorf("give sink or source, the name and the directory; see '%s --help'", cmd.CommandPath())}
		},
		RunE: func(cmd *cobra.Command, args []string) error { return newPluginModule(cmd, args[0], args[1], args[2]) },
	}
}

func newPluginModule(cmd *cobra.Command, kind, name, directory string) error {
	plugin := scaffold.Plugin{Kind: kind, Name: name}
	if release != "" {
		plugin.Version = "v" + strings.TrimPrefix(release, "v")
	}
	if err := plugin.Validate(); err != nil {
		return &usageError{err}
	}
	written, err := plugin.Write(directory)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range written {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "wrote", engine.OneLine(path))
		errs = append(errs, err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "next: cd %s && go mod tidy && go test ./... && go build -o %s .\n",
		engine.OneLine(directory), plugin.Program())
	return errors.Join(append(errs, err)...)
}

// completePluginNew completes the kind and the directory.
func completePluginNew(_ *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return matching(scaffold.Kinds, text), cobra.ShellCompDirectiveNoFileComp
	case 2:
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
