package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/scaffold"
	"github.com/haproxy-api/haproxy-api/engine"
	"github.com/haproxy-api/haproxy-api/templates"
)

// shells are the shells that commands can be completed in.
var shells = []string{"bash", "fish", "powershell", "zsh"}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script that completes commands in a shell",
		Long: "completion prints a script for bash, zsh, fish or PowerShell. The script completes the commands, the flags and\n" +
			"their values, such as the names of pipelines in the configuration. That for bash needs the package bash-completion.",
		Example: "  haproxy-api completion bash > /etc/bash_completion.d/haproxy-api\n" +
			"  haproxy-api completion zsh > \"${fpath[1]}/_haproxy-api\"\n" +
			"  haproxy-api completion fish > ~/.config/fish/completions/haproxy-api.fish\n" +
			"  source <(haproxy-api completion bash)   # only for this session",
		ValidArgs: shells,
		Args:      oneArg(false, "name the shell: "+strings.Join(shells, ", ")),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			case "zsh":
				return root.GenZshCompletion(out)
			}
			return &usageError{fmt.Errorf("%q is not a shell that commands can be completed in: name one of %s", args[0],
				strings.Join(shells, ", "))}
		},
	}
}

// completeFlags makes the shell complete the values of the flags of cmd and its subcommands. Only flags whose values are files,
// and arguments that a command itself completes, are completed with the names of files.
func completeFlags(opts *options, cmd *cobra.Command) {
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if complete := completeFlag(opts, flag); complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag.Name, complete) // it fails only if the flag does not exist
		}
	})
	for _, sub := range cmd.Commands() {
		completeFlags(opts, sub)
	}
}

// completeFlag returns how the value of a flag is completed, or nil for not at all.
func completeFlag(opts *options, flag *pflag.Flag) cobra.CompletionFunc {
	value, _ := flagValue(flag)
	switch {
	case flag.Name == "config-file":
		return cobra.FixedCompletions([]string{"toml", "yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt)
	case value == "FILE":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	case value == "FORMAT":
		return words("text", "json")
	}
	switch flag.Name {
	case "log-level":
		return words("debug", "info", "warn", "error")
	case "kind":
		return words(scaffold.Kinds...)
	case "action":
		return completeActions
	case "pipeline":
		return opts.completePipeline
	case "set":
		return opts.completeKey
	}
	return nil
}

// matching returns the completions that begin with text.
func matching(all []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.HasPrefix(name, text) })
}

func words(all ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
		return matching(all, text), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeActions completes the last one of several names that are separated by commas.
func completeActions(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	before := text[:strings.LastIndexByte(text, ',')+1]
	var all []string
	for _, name := range knownActions() {
		all = append(all, before+name)
	}
	return matching(all, text), cobra.ShellCompDirectiveNoFileComp
}

// completePipeline completes the name of a pipeline in the configuration.
func (o *options) completePipeline(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	cfg, err := o.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return matching(slices.Sorted(maps.Keys(cfg.Pipelines)), text), cobra.ShellCompDirectiveNoFileComp
}

// completeKey completes a key of the configuration.
func (o *options) completeKey(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	cfg, err := o.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var keys []string
	for _, v := range cfg.Values() {
		keys = append(keys, v.Key+"=")
	}
	return matching(keys, text), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeChange completes the number of a change, with what it was. It waits for the daemon for at most a second.
func (o *options) completeChange(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client, err := o.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	pipeline, _ := cmd.Flags().GetString("pipeline")
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	changes, err := findChanges(ctx, client, historyOptions{pipeline: pipeline, limit: defaultChanges}, time.Time{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var numbers []string
	for _, c := range slices.Backward(changes) {
		number := strconv.FormatUint(c.Generation, 10)
		numbers = append(numbers, cobra.CompletionWithDesc(number, engine.OneLine(c.Pipeline+" "+c.Action+" "+c.Outcome)))
	}
	return matching(numbers, text), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeFunction completes the name of a function of templates.
func completeFunction(_ *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range templates.Functions() {
		names = append(names, cobra.CompletionWithDesc(f.Name, f.Description))
	}
	return matching(names, text), cobra.ShellCompDirectiveNoFileComp
}

// completeFile completes the one argument of a command with the names of files.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// completeDirectory completes the one argument of a command with the names of directories.
func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeHelp completes the path of a command.
func completeHelp(help *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	cmd, rest, err := help.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, row := range subcommandRows(cmd) {
		names = append(names, cobra.CompletionWithDesc(row[0], row[1]))
	}
	return matching(names, text), cobra.ShellCompDirectiveNoFileComp
}
