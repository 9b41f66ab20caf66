package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/demo"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/config"
)

func newDemo(opts *options) *cobra.Command {
	var pace time.Duration
	var port int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show haproxy-api on this machine: a Sidecar, a sample service and a real HAProxy on loopback",
		Long: "demo starts a Sidecar, a sample service whose instances change, and HAProxy, all on 127.0.0.1, and prints what\n" +
			"to try. It reads no configuration, and removes all that it created on Ctrl-C. HAProxy must be installed.",
		Example: "  haproxy-api demo\n" +
			"  haproxy-api demo --follow sidecar:7777   # the services of that Sidecar",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pace <= 0 {
				return &usageError{fmt.Errorf("--pace is %s: it must be more than 0", pace)}
			}
			if opts.flags.Changed("config-file") {
				return &usageError{errors.New("the demo has its own configuration: omit --config-file")}
			}
			progress := terminal.NewProgress(cmd.ErrOrStderr())
			defer progress.Close()
			progress.Show("starting HAProxy")
			return demo.Run(cmd.Context(), progress.Over(cmd.OutOrStdout()), demo.Options{
				Pace: pace, Port: port, Follow: opts.flags.Changed("follow"), Version: version(),
				Load: func(settings []string) (*config.Config, error) {
					// Neither a file nor the environment has settings for the demo.
					cfg, err := config.Load(config.Options{Set: append(settings, opts.set...), Flags: opts.flags})
					if err != nil {
						return nil, &usageError{err}
					}
					return cfg, nil
				},
				NewLogger: newLogger,
			})
		},
	}
	cmd.Flags().DurationVar(&pace, "pace", 4*time.Second, "time between two events")
	cmd.Flags().IntVar(&port, "port", 8080, "port at which HAProxy offers the sample service; any free one if it is taken")
	return cmd
}
