package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of a release. The linker sets it.
var release string

// version returns the version of a release, and otherwise the module version that Go recorded.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func versionLine() string {
	return fmt.Sprintf("haproxy-api %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersion(opts *options) *cobra.Command {
	return opts.withOutput(&cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  haproxy-api version --output json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.json() {
				return printJSON(cmd.OutOrStdout(), map[string]string{
					"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
				})
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), versionLine())
			return err
		},
	})
}
