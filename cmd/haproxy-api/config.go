package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newConfig(opts *options) *cobra.Command {
	return opts.withOutput(&cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration and the origin of each value",
		Example: "  haproxy-api config\n" +
			"  haproxy-api config --set haproxy.template=edited.cfg --output json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := opts.load()
			if err != nil {
				return err
			}
			if opts.json() {
				return printJSON(cmd.OutOrStdout(), cfg.Values())
			}
			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, v := range cfg.Values() {
				fmt.Fprintf(out, "%s\t= %v\t# %s\n", v.Key, v.Value, v.Origin)
			}
			return out.Flush()
		},
	})
}
