package main

import (
	_ "embed"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// configurationSchema describes configuration files to editors. TestConfigurationSchema in test/docs generates it.
//
//go:embed configuration.schema.json
var configurationSchema string

func newConfig(opts *options) *cobra.Command {
	var schema bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration and the origin of each value",
		Example: "  haproxy-api config\n" +
			"  haproxy-api config --set haproxy.template=edited.cfg --output json\n" +
			"  haproxy-api config --schema > haproxy-api.schema.json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if schema {
				_, err := fmt.Fprint(cmd.OutOrStdout(), configurationSchema)
				return err
			}
			cfg, err := opts.loadWithNote(cmd)
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
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print a JSON Schema of the configuration for editors instead")
	return opts.withOutput(cmd)
}
