package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// shells are the shells that commands can be completed in.
var shells = []string{"bash", "fish", "powershell", "zsh"}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script that completes commands in a shell",
		Long: "completion prints a script for bash, zsh, fish or PowerShell. The script completes the commands, the flags and\n" +
			"their values, such as the names of pipelines in the configuration.",
		Example: "  haproxy-api completion bash > /etc/bash_completion.d/haproxy-api   # needs the package bash-completion\n" +
			"  haproxy-api completion zsh > \"${fpath[1]}/_haproxy-api\"\n" +
			"  haproxy-api completion fish > ~/.config/fish/completions/haproxy-api.fish\n" +
			"  source <(haproxy-api completion bash)                              # only this session",
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

// completeHelp completes the path of a command.
func completeHelp(help *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	cmd, rest, err := help.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, row := range subcommandRows(cmd) {
		names = append(names, cobra.CompletionWithDesc(row[0], row[1]))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
