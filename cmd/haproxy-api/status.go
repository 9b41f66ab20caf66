package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/apiclient"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/display"
	"github.com/haproxy-api/haproxy-api/cmd/haproxy-api/internal/terminal"
	"github.com/haproxy-api/haproxy-api/engine/server"
)

// watchInterval is the interval of status --watch.
const watchInterval = time.Second

func newStatus(opts *options) *cobra.Command {
	var watch, live bool
	cmd := &cobra.Command{
		Use:        "status",
		SuggestFor: []string{"health", "info"},
		Short:      "Show the status of the running daemon and its pipelines",
		Long: "status asks the running daemon. The first line says whether everything is healthy. Each pipeline has its\n" +
			"source, template and sink, what is in effect, the last change and the last reload with their reasons, and the\n" +
			"number of instances. Then follows each problem with what to do about it.\n\n" +
			"  healthy    nothing is wrong\n" +
			"  degraded   the proxy serves, but not everything, or not the newest: a snapshot is held or\n" +
			"             stale, instances are excluded or quarantined, the registry is away, or the\n" +
			"             configuration file is not accepted\n" +
			"  unhealthy  the sink has a problem, the newest document could not be applied, or the saved\n" +
			"             template cannot be used\n\n" +
			"Exit code: 0 healthy or degraded; 1 unhealthy, or the daemon does not answer; 2 this command has no valid\n" +
			"configuration.",
		Example: "  haproxy-api status\n" +
			"  haproxy-api status --watch\n" +
			"  haproxy-api status --address http://edge:7778 --output json",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if live && watch {
				return &usageError{errors.New("--live and --watch cannot be used together")}
			}
			client, err := opts.client()
			if err != nil {
				return err
			}
			if live {
				return checkLive(cmd, client)
			}
			if watch {
				return watchStatus(cmd, client, opts.json())
			}
			return showStatus(cmd, client, opts.json())
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show each change until Ctrl-C: in place on a terminal, else one after another")
	cmd.Flags().BoolVar(&live, "live", false, "only check that the daemon answers, as the health check of a container does")
	return opts.withOutput(opts.withAddress(cmd))
}

// checkLive returns an error unless the daemon answers.
func checkLive(cmd *cobra.Command, client apiclient.Client) error {
	_, _, err := query(cmd.Context(), client, func(ctx context.Context, client apiclient.Client) (struct{}, error) {
		return struct{}{}, client.Live(ctx)
	})
	return err
}

// showStatus prints the status. It returns an error if the daemon is away, and errReported if it is unhealthy.
func showStatus(cmd *cobra.Command, client apiclient.Client, inJSON bool) error {
	status, err := getStatus(cmd.Context(), client)
	out := cmd.OutOrStdout()
	switch {
	case inJSON:
		if writeErr := printJSON(out, status); writeErr != nil {
			return writeErr
		}
	case err == nil:
		page := terminal.NewPage(out)
		display.ShowStatus(page, status, time.Now())
		if _, err := page.WriteTo(out); err != nil {
			return err
		}
	}
	if err == nil && status.IsFailure() {
		return errReported
	}
	return err
}

// watchStatus shows the status until the command's context is done, also while the daemon is away.
func watchStatus(cmd *cobra.Command, client apiclient.Client, inJSON bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	screen, inPlace := terminal.NewScreen(out), terminal.IsTerminal(out) && !inJSON
	var last display.Status
	for {
		status, _ := getStatus(ctx, client)
		if ctx.Err() != nil {
			return nil
		}
		var err error
		switch {
		case !inPlace && status.SameAs(last):
		case inJSON:
			err = printJSON(out, status)
		default:
			now := time.Now()
			page := terminal.NewPage(out)
			page.Line(page.Faint(now.Format(time.DateTime)))
			display.ShowStatus(page, status, now)
			if !inPlace {
				page.Line("")
			}
			err = screen.Show(page)
		}
		if err != nil {
			return err
		}
		last = status
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
	}
}

// getStatus returns the status of the daemon. If it cannot be had, the status says why.
func getStatus(ctx context.Context, client apiclient.Client) (display.Status, error) {
	status, note, err := query(ctx, client, func(ctx context.Context, client apiclient.Client) (server.Status, error) {
		return client.Status(ctx)
	})
	if err == nil {
		return display.NewStatus(client.URL(), status, note), nil
	}
	if _, away := errors.AsType[*apiclient.AwayError](err); away {
		return display.NoStatus(client.URL(), display.StateAway, err), err
	}
	return display.NoStatus(client.URL(), display.StateUnknown, err), err
}
